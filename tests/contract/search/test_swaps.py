"""The search port's swaps: nothing is written unseen while the alias moves, on both adapters alike."""

import asyncio

import pytest

from backbone.errors import Busy, Unavailable
from backbone.search import SearchIndex
from schemas.documents import IndexedDocument
from tests.support.rebuilding import swapped
from tests.support.search import SearchSite, document, stored


async def ids_in(search: SearchIndex, index: str | None = None) -> set[str]:
    await search.refresh(index)
    return {found.message_id async for found in search.scan(index)}


async def put_in_the_end(search: SearchIndex, *documents: IndexedDocument) -> None:
    """Put as the indexer does: again and again while writes are held."""
    async with asyncio.timeout(10):
        while True:
            try:
                assert await search.put(documents) == []
            except Busy:
                await asyncio.sleep(0)
            else:
                return


async def test_what_is_put_during_a_swap_lands_behind_it(search: SearchIndex, site: SearchSite) -> None:
    """Given a writer that starts while writes are held, its document is in the new index alone."""
    await stored(search, document(1))
    before = await search.current()
    after = await search.create_next()
    async with search.swapping(after) as swap:
        assert swap.before == before
        writing = asyncio.create_task(put_in_the_end(site.open(), document(3)))
        assert await swap.put([document(1), document(2)]) == []
        assert await ids_in(search, before) == {"msg_1"}
        await swap.done()
    await writing
    assert await search.current() == after
    assert await ids_in(search) == {"msg_1", "msg_2", "msg_3"}
    assert await ids_in(search, before) == {"msg_1"}


async def test_what_was_put_in_a_swap_is_found_at_once(search: SearchIndex, site: SearchSite) -> None:
    """Nobody needs to refresh anything: the alias moves to what is visible."""
    after = await search.create_next()
    async with search.swapping(after) as swap:
        await swap.put([document(1)])
        await swap.done()
    assert await site.open().visible_version("msg_1") == 2


@pytest.mark.parametrize("left_by", [None, Unavailable("eventlog", "gone"), ZeroDivisionError()])
async def test_a_swap_that_is_not_done_leaves_the_alias(
    search: SearchIndex, left_by: Exception | None
) -> None:
    """However the block is left, writes go on at once, and what was put is where it was put."""
    before = await search.current()
    after = await search.create_next()

    async def swap_in_vain() -> None:
        async with search.swapping(after) as swap:
            await swap.put([document(1)])
            if left_by is not None:
                raise left_by

    if left_by is None:
        await swap_in_vain()
    else:
        with pytest.raises(type(left_by)):
            await swap_in_vain()
    await stored(search, document(2))
    assert (await search.current(), await search.previous()) == (before, None)
    assert await ids_in(search) == {"msg_2"}
    assert await ids_in(search, after) == {"msg_1"}
    assert await swapped(search, after) == before


async def test_a_swap_that_is_cancelled_leaves_the_alias(search: SearchIndex) -> None:
    before = await search.current()
    after = await search.create_next()
    holding = asyncio.Event()

    async def hold() -> None:
        async with search.swapping(after):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stored(search, document(1))
    assert await search.current() == before
    assert await ids_in(search) == {"msg_1"}


async def test_searches_go_on_while_writes_are_held(search: SearchIndex, site: SearchSite) -> None:
    await stored(search, document(1))
    after = await search.create_next()
    other = site.open()
    async with search.swapping(after):
        assert await other.visible_version("msg_1") == 2
        assert await ids_in(other) == {"msg_1"}
        assert await other.exists()


async def test_the_index_before_is_remembered(search: SearchIndex) -> None:
    """Back and forth, the previous index is the one that was live; dropped, there is none."""
    assert await search.previous() is None
    first = await search.current()
    second = await search.create_next()
    await swapped(search, second)
    assert await search.previous() == first
    assert first is not None
    await swapped(search, first)
    assert (await search.current(), await search.previous()) == (first, second)
    third = await search.create_next()
    await swapped(search, third)
    assert await search.previous() == first
    await search.put([document(1)], first)
    await search.drop(first)
    assert await search.previous() is None
    assert await search.indices() == [second, third]


async def test_an_index_that_is_not_there_is_not_swapped_in(search: SearchIndex) -> None:
    before = await search.current()
    with pytest.raises(Unavailable):
        await swapped(search, f"{before}0")
    await stored(search, document(1))
    assert await search.current() == before
