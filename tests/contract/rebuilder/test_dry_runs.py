"""Dry runs beside a writer and an indexer that never stop: only what is wrong is named, not what is late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from indexer.projection import document_of_event
from tests.support.histories import History, Platform, history
from tests.support.messaging import Talk
from tests.support.rebuilding import SOURCES, Meddling, rebuild


@asynccontextmanager
async def under_load(platform: Platform, made: History) -> AsyncIterator[None]:
    """Post, edit, delete and index without a pause, each beside the other."""
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await platform.tell(made.go_on(5))

    async def index() -> None:
        while not stop.is_set():
            await platform.index_everything()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        tasks.create_task(index())
        try:
            yield
        finally:
            stop.set()


async def test_a_dry_run_under_load_names_nothing_that_is_only_late(platform: Platform) -> None:
    """From whatever source, and several times over."""
    made = history(51, messages=60)
    await platform.tell(made.events)
    await platform.index_everything()
    before = len(made.events)
    async with under_load(platform, made):
        for source in SOURCES * 2:
            report = await rebuild(platform, source, dry_run=True)
            assert (report.differing_channels, report.counts.differing_channels) == ((), 0)
            assert (report.outcome, report.reason) == ("dry run", None)
    assert len(made.events) > before


async def test_a_dry_run_under_load_names_what_was_lost(platform: Platform) -> None:
    """Given one message that the index lost for good, its channel is named, and no other."""
    lost, made = Talk("ops-2").post("잃어버린 말"), history(52, messages=30)
    await platform.tell([lost, *made.events])
    losing = Meddling(platform.search, losing=lost.payload.message_id)
    await Platform(platform.eventlog, cast(Any, losing)).index_everything()
    async with under_load(platform, made):
        report = await rebuild(platform, dry_run=True)
    assert report.differing_channels == ("ops-2",)


async def test_a_dry_run_under_load_names_what_the_log_does_not_know(platform: Platform) -> None:
    """Given a document in the index that no event brought there."""
    made = history(53, messages=30)
    await platform.tell(made.events)
    await platform.index_everything()
    foreign = Talk("foreign").post("nobody told the log")
    assert await platform.search.put([document_of_event(foreign)]) == []
    async with under_load(platform, made):
        report = await rebuild(platform, dry_run=True)
    assert report.differing_channels == ("foreign",)
