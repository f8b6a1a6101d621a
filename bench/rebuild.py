"""`maeari bench rebuild`: how fast each store comes back from each source, and in how much memory.

Guarantees: everything lies in stores of its own that are gone afterwards; each run is a process of its own,
the product's command, whose report is believed only where it says that all is proven. Reading with nothing
done and folding take turns.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from backbone.database.migrations import migrate
from backbone.database.scratch import scratch_database
from backbone.progress import Progress, shown_progress
from backbone.settings import Settings, read_settings
from backbone.wiring import open_database, open_eventlog, open_search
from bench.failure import MeasurementFailed
from bench.measured_process import ran
from bench.rebuild_figures import RebuildRun, as_json, table
from bench.rebuild_log import archive_log, archive_url, tell_log
from bench.rebuild_reading import Read, reading_command
from bench.report import machine
from bench.scratch import scratch_stores
from bench.server import environment

FAILED = 1
TARGETS = ("search", "database", "notifications")
_REBUILDS = (
    ("search", "state"),
    ("search", "events"),
    ("search", "archive"),
    ("database", "state"),
    ("database", "events"),
    ("database", "archive"),
    ("notifications", "events"),
)


@dataclass(frozen=True)
class Plan:
    """What is measured: logs of so many messages, rebuilds of `targets`; reading and fold `pairs` times."""

    messages: tuple[int, ...] = (10_000, 100_000)
    pairs: int = 5
    targets: tuple[str, ...] = TARGETS


async def run(settings: Settings, plan: Plan, json: bool) -> int:
    """Measure; print the table or JSON on stdout. Return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    runs: list[RebuildRun] = []
    surroundings = surroundings_of(settings)
    try:
        with shown_progress() as progress:
            for messages in plan.messages:
                async with scratch_stores(settings) as stores:
                    await _measure(stores, messages, plan, progress, runs)
    except MeasurementFailed as error:
        sys.stderr.write(f"maeari: {error}\n")
        return FAILED
    lines = [as_json(surroundings, runs)] if json else table(surroundings, runs)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


async def _measure(
    stores: Settings, messages: int, plan: Plan, progress: Progress, runs: list[RebuildRun]
) -> None:
    eventlog = open_eventlog(stores)
    try:
        progress.step(f"tell the log of {messages:,} messages")
        await tell_log(eventlog, messages)
    finally:
        await eventlog.close()
    progress.step(f"archive {messages:,} messages")
    await archive_log(stores)
    kinds = ("client", "reader", "fold") if stores.eventlog_url.startswith("kafka://") else ("reader", "fold")
    for pair in range(1, plan.pairs + 1):
        for kind in kinds:
            progress.step(f"{messages:,} messages, {kind}, {pair} of {plan.pairs}")
            runs.append(await _reading(stores, kind, messages))
    for target, source in _REBUILDS:
        if target not in plan.targets:
            continue
        progress.step(f"{messages:,} messages, {target} from {source}")
        runs.append(await _rebuild(stores, target, source, messages))


async def _reading(stores: Settings, kind: str, messages: int) -> RebuildRun:
    output, peak_mib = await asyncio.to_thread(ran, reading_command(kind), _environment(stores))
    read = msgspec.json.decode(output, type=Read)
    if read.records != messages or (kind == "fold" and read.messages != messages):
        raise MeasurementFailed(f"{kind} read {read.records:,} of {messages:,} records")
    return RebuildRun(
        what=kind,
        source="state",
        messages=messages,
        records=read.records,
        seconds=read.seconds,
        peak_mib=peak_mib,
    )


class _Counts(msgspec.Struct):
    records: int
    messages: int = 0


class _Report(msgspec.Struct):
    """What is read of a rebuild's report."""

    outcome: str
    counts: _Counts
    seconds: float


async def _rebuild(stores: Settings, target: str, source: str, messages: int) -> RebuildRun:
    """Run the command on an empty database of its own; what it makes is dropped."""
    command = [sys.executable, "-m", "maeari", "rebuild", target, "--from", source, "--json"]
    if stores.database_url.startswith("sqlite"):
        with tempfile.TemporaryDirectory(prefix="maeari-bench-") as folder:
            files = read_settings({"MAEARI_DATA": folder}, dotenv=None)
            own = replace(stores, database_url=files.database_url)
            return await _rebuilt(command, own, target, source, messages)
    async with scratch_database(stores.database_url, "maeari_bench") as url:
        return await _rebuilt(command, replace(stores, database_url=url), target, source, messages)


async def _rebuilt(
    command: list[str], stores: Settings, target: str, source: str, messages: int
) -> RebuildRun:
    database = open_database(stores)
    try:
        await migrate(database)
    finally:
        await database.close()
    try:
        output, peak_mib = await asyncio.to_thread(ran, command, _environment(stores))
    finally:
        await _drop_index(stores)
    report = msgspec.json.decode(output, type=_Report)
    proven = report.outcome in ("swapped", "put right")
    if not proven or (target != "notifications" and report.counts.messages != messages):
        raise MeasurementFailed(
            f"{' '.join(command[2:])}: {report.outcome}, {report.counts.messages:,} messages"
        )
    return RebuildRun(
        what=target,
        source=source,
        messages=messages,
        records=report.counts.records,
        seconds=report.seconds,
        peak_mib=peak_mib,
    )


async def _drop_index(stores: Settings) -> None:
    search = open_search(stores)
    try:
        await search.drop_all()
    finally:
        await search.close()


def _environment(stores: Settings) -> Mapping[str, str]:
    return environment(stores, ARCHIVE_URL=archive_url(stores))


def surroundings_of(settings: Settings) -> dict[str, str]:
    """Return what the figures depend on, beside the code."""
    database = "SQLite" if settings.database_url.startswith("sqlite") else "PostgreSQL"
    eventlog = "Kafka" if settings.eventlog_url.startswith("kafka://") else "embedded"
    search = "Elasticsearch" if settings.search_url.startswith("http") else "embedded"
    found = machine(database, eventlog, f"{os.cpu_count()}, shared by the rebuild and the stores")
    return {**found, "search": search}
