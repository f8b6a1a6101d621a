"""The search route's links while others post, edit and delete, and while the index is made anew."""

import asyncio
import random
from typing import Any

import httpx
import pytest

from tests.support.backend import user
from tests.support.rebuilding import swapped
from tests.support.searching import SearchableBackend

SORTS = ("relevance", "newest", "oldest")
WRITER = user("a")


async def follow(searchable: SearchableBackend, answer: httpx.Response) -> httpx.Response | None:
    """Return the next page, None where there is none."""
    link = answer.links.get("next")
    if link is None:
        return None
    answer = await searchable.backend.client.get(link["url"])
    assert answer.status_code == 200, answer.text
    return answer


class Writer:
    """Posts, edits and deletes by chance until it is told to stop; the index follows now and then."""

    def __init__(self, searchable: SearchableBackend, doomed: list[str], edited: list[str]) -> None:
        self._searchable = searchable
        self._chance = random.Random(8)
        self._doomed = doomed
        self._edited = edited
        self.deleted: set[str] = set()
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        client = self._searchable.backend.client
        number = 0
        while not self.stopped.is_set() and number < 60:
            number += 1
            await self._searchable.backend.post("c", "a", "배포 " * self._chance.randint(1, 4))
            text = {"content": "배포 고침 " * self._chance.randint(1, 4)}
            path = f"/messages/{self._chance.choice(self._edited)}"
            assert (await client.patch(path, json=text, headers=WRITER)).status_code == 200
            if self._doomed:
                gone = self._doomed.pop()
                assert (await client.delete(f"/messages/{gone}", headers=WRITER)).status_code == 204
                self.deleted.add(gone)
            if number % 4 == 0:
                await self._searchable.index()


@pytest.mark.parametrize("sort", SORTS)
async def test_links_lead_through_all_that_stays(searchable: SearchableBackend, sort: str) -> None:
    """Given a writer all the while, no hit is repeated, none missed that stays, no deleted one shown."""
    posted = [await searchable.backend.post("c", "a", "배포 " * (1 + n % 4)) for n in range(60)]
    ids = [message["message_id"] for message in posted]
    doomed, edited, staying = ids[::4], ids[1::4], [*ids[2::4], *ids[3::4]]
    await searchable.index()
    writer = Writer(searchable, doomed, edited)
    writing = asyncio.create_task(writer.run())
    seen: list[str] = []
    answer: httpx.Response | None = await searchable.search("배포", sort=sort, limit=3)
    while answer is not None and len(seen) < 500:
        deleted = set(writer.deleted)
        page = [hit["_id"] for hit in answer.json()]
        assert len(page) == 3 or "next" not in answer.links
        seen += page
        answer = await follow(searchable, answer)
        if answer is not None:
            # What was deleted before the page was asked for is not on it, whatever the index says.
            assert not deleted & {hit["_id"] for hit in answer.json()}
    writer.stopped.set()
    await writing
    assert writer.deleted
    assert len(seen) == len(set(seen))
    assert {*staying, *edited} <= set(seen)


async def rebuilt(searchable: SearchableBackend) -> None:
    """Put a copy of the index in its place, and drop it."""
    index = searchable.behind.search
    after = await index.create_next()
    assert await index.put([each async for each in index.scan()], after) == []
    await index.refresh(after)
    before = await swapped(index, after)
    assert before is not None
    await index.drop(before)


@pytest.mark.parametrize("sort", SORTS)
async def test_a_rebuild_between_two_pages(searchable: SearchableBackend, sort: str) -> None:
    """Pages by time go on in the new index; a point in time is gone with the old one: 410, which says so."""
    for number in range(7):
        await searchable.backend.post("c", "a", f"배포 {number}")
    await searchable.index()
    first = await searchable.search("배포", sort=sort, limit=3)
    await rebuilt(searchable)
    answer = await searchable.backend.client.get(first.links["next"]["url"])
    if sort == "relevance":
        problem: dict[str, Any] = answer.json()
        assert (answer.status_code, problem["type"]) == (410, "/problems/cursor-expired")
    else:
        assert (answer.status_code, len(answer.json())) == (200, 3)
        assert not {hit["_id"] for hit in first.json()} & {hit["_id"] for hit in answer.json()}


async def test_searches_during_rebuilds_see_no_error(searchable: SearchableBackend) -> None:
    """Given one rebuild after the other, first pages of every order, with links or none, show everything."""
    for number in range(7):
        await searchable.backend.post("c", "a", f"배포 {number}")
    await searchable.index()
    over = asyncio.Event()

    async def search(sort: str, limit: int) -> int:
        searches = 0
        while not over.is_set():
            answer = await searchable.search("배포", sort=sort, limit=limit)
            # Here an index is dropped at once, not some seconds after the swap: an answer may have to be
            # asked for again, but it is never a wrong one.
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                searches += 1
                assert (len(answer.json()), answer.headers["Total-Count"]) == (min(limit, 7), "7")
        return searches

    async def rebuild() -> None:
        for _ in range(4):
            await rebuilt(searchable)
        over.set()

    *counts, _ = await asyncio.gather(*(search(sort, limit) for sort in SORTS for limit in (3, 9)), rebuild())
    assert all(counts)
