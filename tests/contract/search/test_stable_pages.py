"""The search port's cursors while messages are posted, edited and deleted, and when their time is over."""

import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from elasticsearch import AsyncElasticsearch

from backbone.search import (
    CursorExpired,
    CursorInvalid,
    IndexedDocument,
    Rights,
    SearchIndex,
    SearchQuery,
    Sort,
)
from backbone.search.cursors import AfterHit, seal, unseal
from backbone.search.elasticsearch.searching import AfterScore
from backbone.search.embedded import EmbeddedSearchIndex, points
from backbone.search.embedded.points import POINT_KEPT_MS, AfterPlace
from backbone.settings import Settings
from tests.support.search import (
    MOMENT_MS,
    NOBODY,
    SearchSite,
    document,
    ids_of,
    search_site,
    stored,
    tombstone,
)

SORTS: tuple[Sort, ...] = ("relevance", "newest", "oldest")
BY_WORD = SearchQuery(words=("배포",))
STAYING, EDITED, DOOMED = range(40), range(40, 55), range(55, 70)


def bursts(chance: random.Random, moments: Mapping[int, str]) -> Iterator[list[IndexedDocument]]:
    """Yield changes without end: new messages of any time, edits with more or less to find, deletions."""
    number = 1_000
    doomed = list(DOOMED)
    chance.shuffle(doomed)
    while True:
        changes = []
        for _ in range(chance.randint(0, 3)):
            # Some stand before the hits that are there, some among them, some behind.
            number += 1
            moment = f"2025-10-09T08:53:{chance.randrange(60):02}.000Z"
            changes.append(document(number, "배포 " * chance.randint(1, 5), created_at=moment))
        for edited in chance.sample(EDITED, 2):
            number += 1
            text = "배포 " * chance.randint(1, 5)
            changes.append(document(edited, text, version=number, created_at=moments[edited]))
        if doomed:
            changes.append(tombstone(doomed.pop(), version=100_000))
        yield changes


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whoever_stays_comes_once(search: SearchIndex, sort: Sort, seed: int) -> None:
    """Given changes between all pages, no hit is repeated, and none missed that was there all the while."""
    chance = random.Random(seed)
    numbers = [*STAYING, *EDITED, *DOOMED]
    texts = {number: "배포 " * chance.randint(1, 5) + "완료 " * chance.randrange(3) for number in numbers}
    # Several of each moment: the order must not hang on the moment alone.
    moments = {number: f"2025-10-09T08:53:{chance.randrange(20, 40)}.000Z" for number in numbers}
    await stored(search, *(document(n, texts[n], created_at=moments[n]) for n in numbers))
    first = {f"msg_{number}" for number in numbers}
    query = replace(BY_WORD, sort=sort)
    changes = bursts(chance, moments)
    pages = [await search.search(query, NOBODY, 4)]
    while (cursor := pages[-1].cursor) is not None:
        if len(pages) < 30:
            await stored(search, *next(changes))
        pages.append(await search.search(query, NOBODY, 4, cursor))
        if len(pages) == 3:
            # The same cursor again: the answer was lost, say. The same place, whatever came since.
            again = await search.search(query, NOBODY, 4, cursor)
            assert ids_of([again]) == ids_of([pages[-1]])
    seen = ids_of(pages)
    assert len(seen) == len(set(seen))
    assert {f"msg_{number}" for number in (*STAYING, *EDITED)} <= set(seen)
    assert all(len(page.hits) == 4 for page in pages[:-1])
    if sort == "relevance":
        assert set(seen) <= first
    else:
        times = [hit.source.created_at or "" for page in pages for hit in page.hits]
        assert times == sorted(times, reverse=sort == "newest")


@pytest.mark.parametrize("sort", SORTS)
async def test_the_last_page_may_be_asked_for_again(search: SearchIndex, sort: Sort) -> None:
    """An answer that was lost on its way is given once more, as long as its cursor lives."""
    await stored(search, *(document(number, "배포") for number in range(5)))
    query = replace(BY_WORD, sort=sort)
    cursor = (await search.search(query, NOBODY, 3)).cursor
    one, other = [await search.search(query, NOBODY, 3, cursor) for _ in range(2)]
    assert one.cursor is None
    assert len(one.hits) == 2
    assert ids_of([one]) == ids_of([other])


async def test_each_hit_has_its_place(search: SearchIndex) -> None:
    """Of a page that a cursor led to, one may go on behind any hit."""
    await stored(search, *(document(number, "배포") for number in range(9)))
    for sort in SORTS:
        query = replace(BY_WORD, sort=sort)
        first = await search.search(query, NOBODY, 2)
        rest = await search.search(query, NOBODY, 9, first.cursor)
        assert len(rest.places) == len(rest.hits) == 7
        for n, place in enumerate(rest.places):
            behind = await search.search(query, NOBODY, 9, place)
            assert [hit.id for hit in behind.hits] == [hit.id for hit in rest.hits[n + 1 :]]


async def test_a_point_in_time_that_the_server_has_forgotten(real_settings: Settings) -> None:
    """Elasticsearch forgets it by itself: the cursor is expired."""
    async with search_site(real_settings) as site, AsyncElasticsearch(real_settings.search_url) as client:
        search = site.open()
        await search.ensure()
        await stored(search, *(document(number, "배포") for number in range(5)))
        cursor = (await search.search(BY_WORD, NOBODY, 2)).cursor
        assert cursor is not None
        await client.close_point_in_time(id=unseal(BY_WORD, cursor, AfterScore).point_in_time)
        with pytest.raises(CursorExpired):
            await search.search(BY_WORD, NOBODY, 2, cursor)


async def test_a_point_in_time_lives_two_minutes_from_the_last_page(tmp_path: Path) -> None:
    """Each page prolongs it; then it is expired, and gone from the file with the next one that is made."""
    now_ms = MOMENT_MS
    search = EmbeddedSearchIndex(tmp_path / "search.sqlite3", "messages", lambda: now_ms)
    await search.ensure()
    await stored(search, *(document(number, "배포") for number in range(9)))
    cursor = (await search.search(BY_WORD, NOBODY, 2)).cursor
    for _ in range(3):
        now_ms += POINT_KEPT_MS
        cursor = (await search.search(BY_WORD, NOBODY, 2, cursor)).cursor
    now_ms += POINT_KEPT_MS + 1
    with pytest.raises(CursorExpired):
        await search.search(BY_WORD, NOBODY, 2, cursor)
    await search.close()


async def test_who_asks_the_same_of_the_same_state_shares_its_order(tmp_path: Path) -> None:
    """Given the same search by several, its order is kept once; what has changed since has one of its own."""
    path = tmp_path / "search.sqlite3"
    search = EmbeddedSearchIndex(path, "messages")
    await search.ensure()
    await stored(search, *(document(number, "배포") for number in range(9)))
    for rights in (NOBODY, NOBODY, Rights(("secret",)), NOBODY):
        assert (await search.search(BY_WORD, rights, 2)).cursor is not None
    assert rankings_in(path) == 2
    await stored(search, document(9, "배포"))
    cursor = (await search.search(BY_WORD, NOBODY, 2)).cursor
    assert rankings_in(path) == 3
    assert (await search.search(BY_WORD, NOBODY, 20, cursor)).total == 10
    await search.close()


async def test_orders_are_kept_as_far_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given more searches than there is room for, those that were not asked for the longest are expired."""
    path = tmp_path / "search.sqlite3"
    now_ms = MOMENT_MS
    search = EmbeddedSearchIndex(path, "messages", lambda: now_ms)
    await search.ensure()
    await stored(search, *(document(number, "배포", channel=f"c{number}") for number in range(9)))
    monkeypatch.setattr(points, "ROOM_BYTES", 3 * 9 * 10)
    queries = [SearchQuery(words=("배포",), not_channels=(f"x{number}",)) for number in range(5)]
    cursors = []
    for query in queries:
        now_ms += 1
        cursors.append((await search.search(query, NOBODY, 2)).cursor)
    kept = rankings_in(path)
    assert 1 <= kept < 5
    for query, cursor in zip(queries[-kept:], cursors[-kept:], strict=True):
        assert len((await search.search(query, NOBODY, 9, cursor)).hits) == 7
    with pytest.raises(CursorExpired):
        await search.search(queries[0], NOBODY, 9, cursors[0])
    await search.close()


def rankings_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as file:
        return int(file.execute("SELECT count(*) FROM rankings").fetchone()[0])


def forged(site: SearchSite, sort: Sort) -> Iterator[msgspec.Struct]:
    """Yield places that no answer holds: a digest is no secret, so anybody can seal them."""
    most: list[Any] = [2**63 - 1, -(2**63), 2**70, -1, 0, 1.5, "x", None, True, float("inf")]
    for value in most:
        if sort != "relevance":
            yield AfterHit(value, "c", 1)
            yield AfterHit(1, value, 1)
            yield AfterHit(1, "c\0'\"", value)
        elif site.embedded:
            yield AfterPlace(value, 1)
            yield AfterPlace("point", value)
        else:
            yield AfterScore(value, (1.0, 1, 1))
            yield AfterScore("point", (value, 1, 1))
            yield AfterScore("46ToAwMDaWR5BXV1aWQ=", (1.0, value, value))


@pytest.mark.parametrize("sort", SORTS)
async def test_forged_places_are_refused_or_lead_somewhere(site: SearchSite, sort: Sort) -> None:
    """Whatever a cursor holds, it is an error of the cursor's, never of the index's."""
    search = site.open()
    await search.ensure()
    await stored(search, *(document(number, "배포") for number in range(5)))
    query = replace(BY_WORD, sort=sort)
    for place in forged(site, sort):
        try:
            page = await search.search(query, NOBODY, 2, seal(query, place))
        except (CursorInvalid, CursorExpired):
            continue
        assert len(page.hits) <= 2
