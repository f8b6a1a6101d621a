"""A rebuild that is interrupted leaves a whole index behind the alias, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from indexer.projection import document_of_event
from rebuilder.report import Report
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


async def test_interrupted_after_the_swap_it_finishes_first(platform: Platform) -> None:
    """Ctrl-C as the alias has moved: what went to the old index is still brought in before it ends."""
    made = history(13, messages=20)
    await platform.tell(made.events)
    tasks: list[asyncio.Task[Report]] = []

    async def late_batch_and_ctrl_c() -> None:
        events = made.go_on(5)
        await platform.tell(events)
        await platform.search.put([document_of_event(event) for event in events])
        tasks[0].cancel()

    search = Meddling(platform.search, before_swap=late_batch_and_ctrl_c)
    tasks.append(asyncio.create_task(rebuild(platform, search=search)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await platform.documents() == made.expected
    assert len(await platform.search.indices()) == 1


async def test_what_a_killed_rebuild_left_is_cleaned_up(platform: Platform) -> None:
    """Given an index behind no alias, newer than the live one, the next rebuild drops it."""
    leftover = await platform.search.create_next()
    await platform.search.put([document_of_event(Talk().post("반쯤"))], index=leftover)
    report = await rebuild(platform)
    assert await platform.search.indices() == [report.index]
    assert await platform.documents() == {}


def hang_after(reached: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    return hang
