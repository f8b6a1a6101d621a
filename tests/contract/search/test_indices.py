"""The search port's indices: one alias, versions behind it, on both adapters alike."""

import asyncio
from dataclasses import replace

import pytest

from backbone.errors import Unavailable
from backbone.search import SearchIndex, SearchQuery
from backbone.wiring import open_search
from tests.support.rebuilding import swapped
from tests.support.search import NOBODY, SearchSite, document, ids, stored
from tests.support.waiting import until


async def test_the_first_index_is_made_with_its_alias(site: SearchSite) -> None:
    """Given an empty store, ensure makes version 1 behind the alias; again, it changes nothing."""
    search, alias = site.open(), site.settings.search_alias
    assert not await search.exists()
    assert await search.current() is None
    assert await search.indices() == []
    await search.ensure()
    await search.ensure()
    assert await search.exists()
    assert await search.current() == f"{alias}-1"
    assert await search.indices() == [f"{alias}-1"]


async def test_callers_that_ensure_at_once_make_one_index(site: SearchSite) -> None:
    """Several processes may start together on an empty store."""
    await asyncio.gather(*(site.open().ensure() for _ in range(4)))
    search = site.open()
    assert await search.indices() == [f"{site.settings.search_alias}-1"]
    assert await search.exists()


async def test_ensure_passes_over_the_leftover_of_a_rebuild(site: SearchSite) -> None:
    """An index behind no alias is not taken for the live one: it may be half filled."""
    search = site.open()
    leftover = await search.create_next()
    await search.ensure()
    assert await search.current() not in (None, leftover)


async def test_the_alias_moves_in_one_step(search: SearchIndex, site: SearchSite) -> None:
    """Given a filled next index, searches and writes go there after the swap, and the old one can go."""
    await stored(search, document(1, "이전"))
    before = await search.current()
    after = await search.create_next()
    assert after == f"{site.settings.search_alias}-2"
    await search.put([document(2, "다음")], after)
    await search.refresh(after)
    assert await ids(search, SearchQuery(words=("다음",))) == set()
    assert await swapped(search, after) == before
    assert await search.current() == after
    await stored(search, document(3, "다음"))
    assert await ids(search, SearchQuery(words=("다음",))) == {"msg_2", "msg_3"}
    assert await ids(search, SearchQuery(words=("이전",))) == set()
    assert before is not None
    await search.drop(before)
    assert await search.indices() == [after]


async def test_no_search_fails_or_mixes_while_the_alias_moves(search: SearchIndex, site: SearchSite) -> None:
    """Given a search in a loop, every answer is of one of the two indices."""
    await stored(search, document(1))
    after = await search.create_next()
    await search.put([document(2)], after)
    await search.refresh(after)
    answers: list[set[str]] = []
    moved = asyncio.Event()

    async def keep_searching() -> None:
        other = site.open()
        while not (moved.is_set() and answers and answers[-1] == {"msg_2"}):
            answers.append(await ids(other, SearchQuery(words=("안녕하세요",))))

    async def move() -> None:
        await until(lambda: _settled(len(answers) > 3))
        await swapped(search, after)
        moved.set()

    await asyncio.gather(keep_searching(), move())
    assert answers[0] == {"msg_1"}
    assert {frozenset(answer) for answer in answers} == {frozenset({"msg_1"}), frozenset({"msg_2"})}


async def _settled(condition: bool) -> bool:
    return condition


async def test_the_live_index_cannot_be_dropped(search: SearchIndex) -> None:
    """What is behind the alias stays; what is not there is gone already."""
    current = await search.current()
    assert current is not None
    with pytest.raises(ValueError, match=current):
        await search.drop(current)
    await search.drop(f"{current}0")
    assert await search.current() == current


async def test_without_an_alias_everything_waits(site: SearchSite) -> None:
    """Before the first ensure, reading and writing are unavailable and say what to do."""
    search = site.open()
    with pytest.raises(Unavailable, match="start the indexer"):
        await search.search(SearchQuery(words=("a",)), NOBODY, 1)
    with pytest.raises(Unavailable):
        await search.put([document(1)])
    with pytest.raises(Unavailable):
        await search.visible_version("msg_1")
    with pytest.raises(Unavailable):
        await search.put([document(1)], f"{site.settings.search_alias}-7")
    assert await search.indices() == []


async def test_an_alias_of_a_while_is_dropped_with_all_its_indices(site: SearchSite) -> None:
    """Nothing is left of it; an alias whose name begins alike keeps what it has."""
    search = site.open()
    await search.ensure()
    await search.create_next()
    neighbour = open_search(replace(site.settings, search_alias=f"{site.settings.search_alias}-other"))
    try:
        await neighbour.ensure()
        await search.drop_all()
        assert await search.indices() == []
        assert not await search.exists()
        assert await neighbour.exists()
        await search.drop_all()
    finally:
        await neighbour.drop_all()
        await neighbour.close()
