"""Swaps on Elasticsearch when somebody dies, freezes or is not heard: indexing goes on, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from backbone.errors import Busy, Unavailable
from backbone.search import SearchIndex
from backbone.search.elasticsearch import ElasticsearchIndex, swapping
from backbone.settings import Settings
from tests.support.rebuilding import swapped
from tests.support.search import SearchSite, document, search_site
from tests.support.waiting import until


@pytest.fixture
async def site(real_settings: Settings) -> AsyncIterator[SearchSite]:
    async with search_site(real_settings) as site:
        yield site


@pytest.fixture
async def search(site: SearchSite) -> SearchIndex:
    search = site.open()
    await search.ensure()
    return search


@pytest.fixture
async def server(real_settings: Settings) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(real_settings.search_url) as server:
        yield server


@pytest.fixture(autouse=True)
def impatient_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers that a test holds up are told at once."""
    monkeypatch.setattr(swapping, "WAITED_MAX_S", 0.0)


async def taken(search: SearchIndex, number: int) -> bool:
    try:
        return await search.put([document(number)]) == []
    except Busy:
        return False


async def test_a_writer_is_told_to_wait(search: SearchIndex, site: SearchSite) -> None:
    """Of the server's health that says nothing: it is Busy, not merely Unavailable."""
    after = await search.create_next()
    async with search.swapping(after):
        with pytest.raises(Busy, match="wait for the swap"):
            await site.open().put([document(1)])


async def test_a_frozen_owner_is_passed_over(
    search: SearchIndex, site: SearchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given writes that are held too long, a writer lifts the block, and the swap is refused."""
    monkeypatch.setattr(swapping, "LIFTED_AFTER_S", 0.2)
    before = await search.current()
    after = await search.create_next()

    async def freeze_and_swap() -> None:
        async with search.swapping(after) as swap:
            writer = site.open()
            await until(lambda: taken(writer, 1))
            await swap.done()

    with pytest.raises(Unavailable, match="took too long"):
        await freeze_and_swap()
    assert await search.current() == before
    assert await taken(search, 2)


async def test_a_frozen_owner_does_not_use_the_hold_of_the_next(
    search: SearchIndex, site: SearchSite
) -> None:
    """Given one that slept until another holds writes, only the other can swap."""
    stale, fresh = await search.create_next(), await search.create_next()
    other = site.open()

    async def sleep_and_swap() -> None:
        async with search.swapping(stale) as sleeping:
            async with other.swapping(fresh) as swap:
                with pytest.raises(Unavailable, match="took too long"):
                    await sleeping.done()
                await swap.done()
            await sleeping.done()

    with pytest.raises(Unavailable):
        await sleep_and_swap()
    assert await search.current() == fresh
    assert await taken(search, 1)


@pytest.mark.parametrize("mark", ["swapping-0123456789abcdef", "released"])
async def test_the_next_rebuild_releases_what_a_dead_one_held(
    search: SearchIndex, server: AsyncElasticsearch, mark: str
) -> None:
    """Given a mark and a block whose process is gone, wherever it stopped, both are cleared."""
    live = await held_by_the_dead(search, server, mark)
    await search.release_writes()
    assert await taken(search, 1)
    assert await marks(server, live) == {live.rpartition("-")[0]}


async def test_a_block_that_was_to_be_lifted_is_lifted_by_the_first_writer(
    search: SearchIndex, server: AsyncElasticsearch
) -> None:
    """Given one that died between taking the mark away and lifting the block."""
    await held_by_the_dead(search, server, "released")
    assert await taken(search, 1)


async def test_whoever_looks_now_and_then_lifts_what_a_dead_one_left(
    search: SearchIndex, server: AsyncElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a quiet time, the first message that is written after it meets no block any more."""
    monkeypatch.setattr(swapping, "LIFTED_AFTER_S", 0.2)
    live = await held_by_the_dead(search, server, "swapping-0123456789abcdef")

    async def lifted() -> bool:
        await search.look_after_writes()
        return await marks(server, live) == {live.rpartition("-")[0]}

    assert not await lifted(), "it may be a living one's yet"
    await until(lifted)
    assert await taken(search, 1)


async def test_looking_leaves_a_living_swap_alone(search: SearchIndex, site: SearchSite) -> None:
    after, other = await search.create_next(), site.open()
    async with search.swapping(after) as swap:
        for _ in range(3):
            await other.look_after_writes()
        await swap.done()
    assert await search.current() == after


async def test_a_block_that_has_yet_to_come_is_waited_for(
    search: SearchIndex, server: AsyncElasticsearch
) -> None:
    """Given a swap that ended while its request for the block was under way, a look lifts it later."""
    live = await search.current()
    assert live is not None
    await server.indices.put_alias(index=live, name=f"{live.rpartition('-')[0]}-released")
    await search.look_after_writes()
    await server.indices.add_block(index=live, block="write")
    await search.look_after_writes()
    assert await taken(search, 1)
    assert await marks(server, live) == {live.rpartition("-")[0]}


async def test_a_swap_whose_block_somebody_lifted_is_refused(
    search: SearchIndex, server: AsyncElasticsearch
) -> None:
    """Given an operator who took the block away by hand, what was written since is not lost."""
    before, after = await search.current(), await search.create_next()

    async def swap_in_vain() -> None:
        async with search.swapping(after) as swap:
            await server.indices.put_settings(index=str(before), settings={"index.blocks.write": None})
            assert await taken(search, 1)
            await swap.done()

    with pytest.raises(Unavailable, match="others write again"):
        await swap_in_vain()
    assert await search.current() == before
    assert await taken(search, 2)


async def test_a_writer_waits_for_the_swap_itself(
    search: SearchIndex, site: SearchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it writes as the swap ends, and not after a pause of its caller's."""
    monkeypatch.setattr(swapping, "WAITED_MAX_S", 10.0)
    after, other = await search.create_next(), site.open()
    async with search.swapping(after) as swap:
        writing = asyncio.create_task(other.put([document(1)]))
        await asyncio.wait({writing}, timeout=0.3)
        assert not writing.done()
        await swap.done()
    assert await writing == []
    await search.refresh()
    assert [found.message_id async for found in search.scan(after)] == ["msg_1"]


async def test_a_block_of_an_operator_stays(search: SearchIndex, server: AsyncElasticsearch) -> None:
    """Without our mark: writers are told, no swap is begun, and nobody lifts it."""
    live = await search.current()
    assert live is not None
    after = await search.create_next()
    await server.indices.add_block(index=live, block="write")
    for _ in range(2):
        with pytest.raises(Unavailable, match="index write") as caught:
            await search.put([document(1)])
        assert not isinstance(caught.value, Busy)
        await search.release_writes()
        with pytest.raises(Unavailable, match=r"no writes: index\.blocks\.write"):
            await search.look_after_writes()
    with pytest.raises(Unavailable, match=f"block on the writes to {live}"):
        await swapped(search, after)
    with pytest.raises(Unavailable, match="index write"):
        await search.put([document(1)])
    assert await search.current() == live


@pytest.mark.parametrize("block", ["read_only_allow_delete", "read_only"])
async def test_what_a_full_disk_sets_is_told(
    search: SearchIndex, server: AsyncElasticsearch, block: str
) -> None:
    """Given an index that the server has made read-only, whoever writes or looks is told why."""
    live = await search.current()
    assert live is not None
    await server.indices.put_settings(index=live, settings={f"index.blocks.{block}": True})
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"cluster_block_exception") as caught:
                await search.put([document(1)])
            assert not isinstance(caught.value, Busy)
            with pytest.raises(Unavailable, match=rf"no writes: index\.blocks\.{block}"):
                await search.look_after_writes()
    finally:
        await server.indices.put_settings(index=live, settings={f"index.blocks.{block}": None})
    await search.look_after_writes()
    assert await search.put([document(1)]) == []


class Unheard(ElasticsearchIndex):
    """An index on a line on which the answers to some requests are lost, or those are not sent at all."""

    lost: Callable[[str, Any], bool]
    sent: bool = True

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        if not self.lost(path, body):
            return await super()._ask(method, path, body)
        if self.sent:
            await super()._ask(method, path, body)
        raise Unavailable("search", "no answer in time")


@pytest.fixture
async def unheard(search: SearchIndex, real_settings: Settings) -> AsyncIterator[Unheard]:
    opened = Unheard(real_settings.search_url, real_settings.search_alias, real_settings.search_security)
    yield opened
    await opened.close()


def is_the_block(path: str, _body: Any) -> bool:
    return path.endswith("/_block/write")


def is_the_lifting(path: str, body: Any) -> bool:
    return path.endswith("/_settings") and body is not None


def moves(path: str, body: Any) -> bool:
    return path == "/_aliases" and any("-previous" in str(action) for action in body["actions"])


async def test_a_move_whose_answer_is_lost_is_a_move(unheard: Unheard) -> None:
    unheard.lost = moves
    after = await unheard.create_next()
    await swapped(unheard, after)
    assert await unheard.current() == after
    assert await taken(unheard, 1)


async def test_a_move_that_did_not_arrive_is_none(unheard: Unheard, search: SearchIndex) -> None:
    unheard.lost, unheard.sent = moves, False
    before = await unheard.current()
    after = await unheard.create_next()
    with pytest.raises(Unavailable, match="no answer"):
        await swapped(unheard, after)
    assert await search.current() == before
    assert await taken(search, 1)


async def test_a_block_that_comes_late_does_not_stay(unheard: Unheard, server: AsyncElasticsearch) -> None:
    """Given a request for the block that was given up and arrives after all, the first writer lifts it."""
    unheard.lost, unheard.sent = is_the_block, False
    live = await unheard.current()
    after = await unheard.create_next()
    with pytest.raises(Unavailable, match="no answer"):
        await swapped(unheard, after)
    assert await taken(unheard, 1)
    assert live is not None
    await server.indices.add_block(index=live, block="write")
    assert await taken(unheard, 2)


async def test_the_index_before_can_be_written_again(unheard: Unheard, search: SearchIndex) -> None:
    """Given one that moved the alias and could not lift the block, the next rebuild lifts it."""
    unheard.lost, unheard.sent = is_the_lifting, False
    before = await unheard.current()
    await swapped(unheard, await unheard.create_next())
    with pytest.raises(Unavailable, match="index write"):
        await search.put([document(1)], before)
    await search.release_writes()
    assert await search.put([document(1)], before) == []
    assert await search.previous() == before


async def held_by_the_dead(search: SearchIndex, server: AsyncElasticsearch, mark: str) -> str:
    live = await search.current()
    assert live is not None
    await server.indices.put_alias(index=live, name=f"{live.rpartition('-')[0]}-{mark}")
    await server.indices.add_block(index=live, block="write")
    return live


async def marks(server: AsyncElasticsearch, index: str) -> set[str]:
    return set((await server.indices.get_alias(index=index)).body[index]["aliases"])
