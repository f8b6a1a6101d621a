"""The search port's pages: every hit once, whatever arrives meanwhile, on both adapters alike."""

from dataclasses import replace

import pytest

from backbone.search import CursorExpired, CursorInvalid, Rights, SearchIndex, SearchQuery, Sort
from tests.support.rebuilding import swapped
from tests.support.search import NOBODY, SearchSite, all_pages, document, ids_of, stored

SORTS: tuple[Sort, ...] = ("relevance", "newest", "oldest")


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_hold_every_hit_once(search: SearchIndex, sort: Sort) -> None:
    """Given hits of one moment among them, pages follow one another without gap or repeat."""
    moment = "2026-01-31T09:00:00.000Z"
    same = [document(n, "배포", channel=f"c{n % 3}", created_at=moment) for n in range(20, 30)]
    await stored(search, *(document(number, "배포") for number in range(11)), *same)
    pages = await all_pages(search, SearchQuery(words=("배포",), sort=sort), 4)
    assert [len(page.hits) for page in pages] == [4, 4, 4, 4, 4, 1]
    assert {page.total for page in pages} == {21}
    assert len(set(ids_of(pages))) == 21
    (all_at_once,) = await all_pages(search, SearchQuery(words=("배포",), sort=sort), 100)
    assert [hit.id for hit in all_at_once.hits] == ids_of(pages)


async def test_time_sorts_go_both_ways(search: SearchIndex) -> None:
    """Newest first and oldest first are each other's reverse where no moments are equal."""
    await stored(search, *(document(number) for number in (3, 1, 2)))
    newest = await all_pages(search, SearchQuery(authors=("kim",), sort="newest"), 2)
    oldest = await all_pages(search, SearchQuery(authors=("kim",), sort="oldest"), 2)
    assert ids_of(newest) == ["msg_3", "msg_2", "msg_1"]
    assert ids_of(oldest) == ["msg_1", "msg_2", "msg_3"]


@pytest.mark.parametrize("sort", SORTS)
async def test_cursors_are_stable_while_documents_arrive(search: SearchIndex, sort: Sort) -> None:
    """Given new and edited messages between two pages, none of the first hits is missed or repeated."""
    query = SearchQuery(words=("배포",), sort=sort)
    await stored(search, *(document(number, "배포 " * (1 + number % 4)) for number in range(10, 20)))
    expected = ids_of([await search.search(query, NOBODY, 100)])
    first = await search.search(query, NOBODY, 4)
    late = [document(number, "배포 배포 배포", created_at="2027-01-01T00:00:00.000Z") for number in (1, 2, 3)]
    if sort == "oldest":
        late = [document(number, "배포", created_at="2001-01-01T00:00:00.000Z") for number in (1, 2, 3)]
    await stored(search, *late)
    second = await search.search(query, NOBODY, 4, first.cursor)
    third = await search.search(query, NOBODY, 4, second.cursor)
    assert ids_of([first, second, third]) == expected
    assert third.cursor is None


@pytest.mark.parametrize("sort", SORTS)
async def test_each_page_asks_for_the_rights_anew(search: SearchIndex, sort: Sort) -> None:
    """Given a searcher who loses a channel between two pages, the next page shows nothing of it."""
    await stored(search, *(document(n, "배포", channel=f"c{n % 2}", private=n % 2 == 1) for n in range(10)))
    query = SearchQuery(words=("배포",), sort=sort)
    first = await search.search(query, Rights(("c1",)), 2)
    second = await search.search(query, NOBODY, 10, first.cursor)
    assert {hit.source.channel for hit in second.hits} == {"c0"}


@pytest.mark.parametrize("sort", SORTS)
async def test_a_cursor_serves_any_process_and_its_own_query_alone(site: SearchSite, sort: Sort) -> None:
    """It is text without a memory of the process that wrote it; elsewhere and damaged it is refused."""
    search = site.open()
    await search.ensure()
    await stored(search, *(document(number, "배포 완료") for number in range(5)))
    query = SearchQuery(words=("배포",), sort=sort)
    first = await search.search(query, NOBODY, 2)
    cursor = first.cursor
    assert cursor is not None
    assert len((await site.open().search(query, NOBODY, 3, cursor)).hits) == 3
    with pytest.raises(CursorInvalid):
        await search.search(SearchQuery(words=("완료",), sort=sort), NOBODY, 2, cursor)
    middle = len(cursor) // 2
    other = "A" if cursor[middle] != "A" else "B"
    damaged = [
        cursor[:middle] + other + cursor[middle + 1 :],
        cursor[:-4],
        cursor + "AAAA",
        "",
        "not a cursor",
        "한글",
    ]
    for text in damaged:
        with pytest.raises(CursorInvalid):
            await search.search(query, NOBODY, 2, text)


async def test_a_cursor_expires_with_its_point_in_time(search: SearchIndex) -> None:
    """Given that the index under it is gone after a rebuild, the cursor is expired, not wrong."""
    await stored(search, *(document(number, "배포") for number in range(5)))
    query = SearchQuery(words=("배포",))
    cursor = (await search.search(query, NOBODY, 2)).cursor
    by_time = (await search.search(replace(query, sort="newest"), NOBODY, 2)).cursor
    after = await search.create_next()
    await search.put([document(number, "배포") for number in range(5)], after)
    await search.refresh(after)
    before = await swapped(search, after)
    assert before is not None
    assert len((await search.search(query, NOBODY, 1, cursor)).hits) == 1
    await search.drop(before)
    with pytest.raises(CursorExpired):
        await search.search(query, NOBODY, 2, cursor)
    assert len((await search.search(replace(query, sort="newest"), NOBODY, 9, by_time)).hits) == 3
