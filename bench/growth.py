"""`maeari bench growth`: what each route and each process costs as the messages become more.

Guarantees: every size has stores of its own that are gone afterwards; what fills them is the product's
rebuild from a log of that size, whose report must say that all is proven.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from backbone.progress import Progress, shown_progress
from backbone.settings import Settings
from backbone.wiring import open_eventlog, open_search
from bench.failure import MeasurementFailed
from bench.growth_figures import Cost, as_json, table
from bench.growth_routes import medians_ms
from bench.measured_process import ran
from bench.rebuild import surroundings_of
from bench.rebuild_log import tell_log
from bench.scratch import scratch_stores
from bench.server import environment, running_backend

FAILED = 1
_PROVEN = ("swapped", "put right", "equal", "behind")
_PROCESSES = (
    ("rebuild database", ("rebuild", "database")),
    ("rebuild search", ("rebuild", "search", "--from", "events")),
    ("rebuild notifications", ("rebuild", "notifications")),
    ("verify", ("verify", "--timeout", "0")),
)


@dataclass(frozen=True)
class Plan:
    """Sizes and numbers of channels that are measured, and how many requests each route gets."""

    messages: tuple[int, ...] = (1_000, 10_000, 100_000)
    channels: tuple[int, ...] = (1, 10_000)
    requests: int = 50


class _Report(msgspec.Struct):
    """What is read of a command's report."""

    outcome: str
    seconds: float


async def run(settings: Settings, plan: Plan, json: bool) -> int:
    """Measure; print the table or JSON on stdout. Return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    costs: list[Cost] = []
    surroundings = surroundings_of(settings)
    try:
        with shown_progress() as progress:
            for channels in plan.channels:
                for messages in plan.messages:
                    async with scratch_stores(settings) as stores:
                        await _measure(stores, channels, messages, plan.requests, progress, costs)
    except MeasurementFailed as error:
        sys.stderr.write(f"maeari: {error}\n")
        return FAILED
    lines = [as_json(surroundings, costs)] if json else table(surroundings, costs)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


async def _measure(
    stores: Settings, channels: int, messages: int, requests: int, progress: Progress, costs: list[Cost]
) -> None:
    size = f"{messages:,} messages in {channels:,} channels"
    progress.step(f"tell a log of {size}")
    eventlog = open_eventlog(stores)
    try:
        await tell_log(eventlog, messages, channels)
    finally:
        await eventlog.close()
    layout = f"{channels:,}"
    try:
        for name, arguments in _PROCESSES:
            progress.step(f"{name}, {size}")
            seconds = await _seconds(arguments, environment(stores))
            each_ms = seconds * 1000 / messages
            costs.append(Cost(kind="process", what=name, layout=layout, messages=messages, each_ms=each_ms))
        progress.step(f"routes, {size}")
        async with running_backend(stores, None, WRITE_RATE=100_000, WRITE_BURST=100_000) as backend:
            found = await asyncio.to_thread(medians_ms, backend.port, channels, messages, requests)
        costs += [
            Cost(kind="route", what=name, layout=layout, messages=messages, each_ms=each_ms)
            for name, each_ms in found.items()
        ]
    finally:
        search = open_search(stores)
        try:
            await search.drop_all()
        finally:
            await search.close()


async def _seconds(arguments: tuple[str, ...], variables: Mapping[str, str]) -> float:
    output, _ = await asyncio.to_thread(
        ran, (sys.executable, "-m", "maeari", *arguments, "--json"), variables
    )
    report = msgspec.json.decode(output, type=_Report)
    if report.outcome not in _PROVEN:
        raise MeasurementFailed(f"maeari {' '.join(arguments)}: {report.outcome}")
    return report.seconds
