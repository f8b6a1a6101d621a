"""`maeari bench index`: documents per second of the indexer, and the lag from POST to searchable.

Guarantees: everything lies in stores of its own that are gone afterwards; the product's indexer and one
that awaits a request for each event take turns on the same log, so that a slow minute harms both.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backbone.progress import Progress, shown_progress
from backbone.settings import Settings
from backbone.wiring import open_eventlog, open_search
from bench.backlog import tell_backlog
from bench.failure import MeasurementFailed
from bench.index_figures import IndexRun, as_json, table
from bench.indexing import index_in_bulk, index_one_by_one
from bench.lag import measure_lag
from bench.report import machine
from bench.scratch import scratch_stores

FAILED = 1


@dataclass(frozen=True)
class Plan:
    """What is measured: a backlog of `messages`, of which the other indexer reads only `one_by_one`."""

    messages: int = 20_000
    one_by_one: int = 2_000
    pairs: int = 3
    posts_per_second: float = 50.0
    seconds: float = 20.0


async def run(settings: Settings, plan: Plan, json: bool) -> int:
    """Measure; print the table or JSON on stdout. Return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    runs: list[IndexRun] = []
    surroundings = _surroundings(settings)
    try:
        with shown_progress() as progress:
            async with scratch_stores(settings) as stores:
                await _measure_rates(stores, plan, progress, runs)
            # In stores of its own: the processes have no backlog to work off first.
            async with scratch_stores(settings) as stores, _dropped_index(stores):
                progress.step(f"post {plan.posts_per_second:g} a second for {plan.seconds:g} s")
                lag = await measure_lag(stores, plan.posts_per_second, plan.seconds)
    except MeasurementFailed as error:
        sys.stderr.write(f"maeari: {error}\n")
        return FAILED
    lines = [as_json(surroundings, runs, lag)] if json else table(surroundings, runs, lag)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


async def _measure_rates(stores: Settings, plan: Plan, progress: Progress, runs: list[IndexRun]) -> None:
    eventlog = open_eventlog(stores)
    try:
        progress.step(f"tell the log of {plan.messages:,} messages")
        await tell_backlog(eventlog, plan.messages)
        for pair in range(1, plan.pairs + 1):
            progress.step(f"pair {pair} of {plan.pairs}: in bulk")
            runs.append(await index_in_bulk(stores, eventlog, plan.messages, pair))
            progress.step(f"pair {pair} of {plan.pairs}: one by one")
            runs.append(await index_one_by_one(stores, eventlog, plan.one_by_one, pair))
    finally:
        await eventlog.close()


@asynccontextmanager
async def _dropped_index(stores: Settings) -> AsyncIterator[None]:
    """Drop the index that the processes made, at the end of the block."""
    try:
        yield
    finally:
        search = open_search(stores)
        try:
            await search.drop_all()
        finally:
            await search.close()


def _surroundings(settings: Settings) -> dict[str, str]:
    database = "SQLite" if settings.database_url.startswith("sqlite") else "PostgreSQL"
    eventlog = "Kafka" if settings.eventlog_url.startswith("kafka://") else "embedded"
    search = "Elasticsearch" if settings.search_url.startswith("http") else "embedded"
    found = machine(database, eventlog, f"{os.cpu_count()}, shared by indexer, load and stores")
    return {**found, "search": search}
