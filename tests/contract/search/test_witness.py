"""The search as witness: a page says whether it was read from a state that holds a version."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from backbone.search import SearchIndex, SearchQuery, Sort, Witness
from backbone.settings import Settings
from tests.support.rebuilding import swapped
from tests.support.search import NOBODY, document, search_site, stored, tombstone

SORTS: tuple[Sort, ...] = ("relevance", "newest", "oldest")
BY_WORD = SearchQuery(words=("배포",))
NOTHING = SearchQuery(words=("!!!",))


async def witnessed(search: SearchIndex, message_id: str, version: int, query: SearchQuery) -> bool | None:
    return (await search.search(query, NOBODY, 2, witness=Witness(message_id, version))).witnessed


@pytest.mark.parametrize("sort", SORTS)
async def test_a_page_says_whether_it_saw_a_version(search: SearchIndex, sort: Sort) -> None:
    """That version or a newer one, deleted or private, found by the query or not; no more than that."""
    await stored(
        search,
        document(1, "배포", version=5),
        document(2, "다른", version=5, private=True, channel="secret"),
        tombstone(3, version=5),
        *(document(number, "배포") for number in range(10, 20)),
    )
    for query in (BY_WORD, NOTHING, SearchQuery(words=("없다",))):
        for message_id in ("msg_1", "msg_2", "msg_3"):
            seen = [
                await witnessed(search, message_id, version, replace(query, sort=sort))
                for version in (4, 5, 6)
            ]
            assert seen == [True, True, False], (query, message_id)
        assert await witnessed(search, "msg_4", 1, replace(query, sort=sort)) is False
        assert (await search.search(replace(query, sort=sort), NOBODY, 2)).witnessed is None


async def test_large_versions_are_told_apart(search: SearchIndex) -> None:
    """Also where a floating-point number could not."""
    await stored(search, document(1, version=2**53))
    seen = [await witnessed(search, "msg_1", 2**53 + more, BY_WORD) for more in (0, 1)]
    assert seen == [True, False]


@pytest.mark.parametrize("sort", SORTS)
async def test_what_a_page_witnesses_it_holds(search: SearchIndex, sort: Sort) -> None:
    """Given a writer all the while, a page that says yes has the message among its hits."""
    query = replace(BY_WORD, sort=sort)

    async def write() -> None:
        for number in range(30):
            await search.put([document(number, "배포")])

    async def look() -> None:
        for number in range(30):
            page = None
            while page is None or not page.witnessed:
                page = await search.search(query, NOBODY, 100, witness=Witness(f"msg_{number}", number + 1))
                assert not page.witnessed or f"msg_{number}" in {hit.id for hit in page.hits}

    await asyncio.gather(write(), look())


async def test_a_point_in_time_witnesses_no_more_than_it_saw(search: SearchIndex) -> None:
    """Given a message stored between two pages by relevance, the second page does not claim to know it."""
    await stored(search, *(document(number, "배포") for number in range(6)))
    first = await search.search(BY_WORD, NOBODY, 2)
    await stored(search, document(9, "배포"), document(5, "배포 배포", version=20))
    assert (await search.visible_version("msg_9"), await search.visible_version("msg_5")) == (10, 20)
    cursor = first.cursor
    for message_id, version, expected in [("msg_9", 10, False), ("msg_5", 20, False), ("msg_4", 5, True)]:
        page = await search.search(BY_WORD, NOBODY, 2, cursor, Witness(message_id, version))
        assert page.witnessed is expected, message_id
        cursor = page.cursor
    assert await witnessed(search, "msg_9", 10, BY_WORD) is True


async def test_a_point_in_time_witnesses_its_own_index(search: SearchIndex) -> None:
    """Given a rebuild between two pages, the page speaks of the index that it was read from."""
    await stored(search, *(document(number, "배포") for number in range(6)))
    first = await search.search(BY_WORD, NOBODY, 2)
    after = await search.create_next()
    await search.put([document(9, "배포")], after)
    await search.refresh(after)
    await swapped(search, after)
    old, new = Witness("msg_0", 1), Witness("msg_9", 10)
    assert (await search.search(BY_WORD, NOBODY, 2, first.cursor, old)).witnessed is True
    assert (await search.search(BY_WORD, NOBODY, 2, first.cursor, new)).witnessed is False
    assert (await search.search(BY_WORD, NOBODY, 2, witness=old)).witnessed is False
    assert (await search.search(BY_WORD, NOBODY, 2, witness=new)).witnessed is True


_BEFORE_CHANGES = """
DROP TABLE changes;
DROP TABLE rankings;
CREATE TABLE points (
    point TEXT PRIMARY KEY, number INTEGER NOT NULL, total INTEGER NOT NULL, until_ms INTEGER NOT NULL);
CREATE TABLE point_hits (
    point TEXT NOT NULL, place INTEGER NOT NULL, document INTEGER NOT NULL, score REAL NOT NULL,
    PRIMARY KEY (point, place)) WITHOUT ROWID;
ALTER TABLE documents_1 DROP COLUMN change;
"""


async def test_a_file_from_before_changes_were_counted_is_taken_over(embedded_settings: Settings) -> None:
    """Its documents are there, are witnessed, and go on as all others do."""
    async with search_site(embedded_settings) as site:
        search = site.open()
        await search.ensure()
        await stored(search, *(document(number, "배포") for number in range(6)))
    with closing(sqlite3.connect(embedded_settings.search_url.removeprefix("embedded:"))) as file:
        file.executescript(_BEFORE_CHANGES)
    async with search_site(embedded_settings) as site:
        one, other = site.open(), site.open()
        first, _ = await asyncio.gather(*(each.search(BY_WORD, NOBODY, 2) for each in (one, other)))
        await stored(one, document(1, "배포", version=9))
        for message_id, version, expected in [("msg_1", 9, False), ("msg_4", 5, True)]:
            page = await other.search(BY_WORD, NOBODY, 2, first.cursor, Witness(message_id, version))
            assert page.witnessed is expected
        assert await witnessed(other, "msg_1", 9, BY_WORD) is True
