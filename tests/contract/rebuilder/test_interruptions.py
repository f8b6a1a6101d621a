"""A rebuild that is interrupted leaves a whole index behind the alias, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from indexer.projection import document_of_event
from rebuilder.search.report import Report
from tests.support.histories import Platform, history
from tests.support.messaging import Talk
from tests.support.rebuilding import Meddling, rebuild


async def test_interrupted_it_leaves_the_alias_alone(platform: Platform) -> None:
    """Given Ctrl-C while the index is filled, the live index stays and the new one is dropped."""
    made = history(12, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    before = await platform.search.current()
    filling = asyncio.Event()
    search = Meddling(platform.search, before_put=hang_after(filling))
    task = asyncio.create_task(rebuild(platform, search=search))
    await filling.wait()
    assert len(await platform.search.indices()) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await platform.search.indices() == [before]
    assert await platform.documents() == made.expected


@pytest.mark.parametrize("moment", ["before_hold", "in_hold", "before_move", "after_swap"])
async def test_interrupted_at_the_swap_nothing_is_missing(platform: Platform, moment: str) -> None:
    """Ctrl-C as writes are held, or before or after: the alias is on a whole index, and writes go on."""
    made = history(13, messages=20)
    await platform.tell(made.events)
    before = await platform.search.current()
    tasks: list[asyncio.Task[Report]] = []

    async def late_batch_and_ctrl_c() -> None:
        events = made.go_on(5)
        await platform.tell(events)
        if moment == "before_hold":
            await platform.search.put([document_of_event(event) for event in events])
        tasks[0].cancel()

    meddling: dict[str, Any] = {moment: late_batch_and_ctrl_c}
    search = Meddling(platform.search, **meddling)
    tasks.append(asyncio.create_task(rebuild(platform, search=search)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await platform.index_everything()
    assert await platform.documents() == made.expected
    swapped = await platform.search.current() != before
    # A move that was asked for as Ctrl-C came may have been made.
    assert swapped == (moment == "after_swap") or moment == "before_move"
    assert len(await platform.search.indices()) == 1 + swapped
    assert (await platform.search.previous() is not None) == swapped


async def test_what_a_killed_rebuild_left_is_cleaned_up(platform: Platform) -> None:
    """Given an index behind no alias, newer than the live one, the next rebuild drops it."""
    leftover = await platform.search.create_next()
    await platform.search.put([document_of_event(Talk().post("반쯤"))], index=leftover)
    report = await rebuild(platform)
    assert await platform.search.indices() == [report.kept, report.index]
    assert await platform.documents() == {}


def hang_after(reached: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    return hang
