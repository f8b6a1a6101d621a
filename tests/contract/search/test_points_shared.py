"""Searches by relevance that come together look at one point in time, given back when nobody needs it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backbone.errors import Unavailable
from backbone.search import SearchQuery
from backbone.search.elasticsearch import ElasticsearchIndex
from backbone.search.elasticsearch.connection import Connection
from backbone.settings import Settings
from tests.support.search import NOBODY, document, search_site, stored
from tests.support.waiting import until

QUERY = SearchQuery(words=("배포",))


class Watched:
    """Elasticsearch, with what it is asked about points in time."""

    def __init__(self, search: ElasticsearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        self.search = search
        self.opened = self.closed = 0
        self._held: list[tuple[asyncio.Event, asyncio.Event]] = []
        real = Connection.send

        async def send(connection: Connection, method: str, path: str, *more: Any) -> Any:
            answer = await real(connection, method, path, *more)
            self.opened += "_pit?" in path
            if "_pit?" in path and self._held:
                opened, let_go = self._held.pop()
                opened.set()
                await let_go.wait()
            self.closed += method == "DELETE" and path == "/_pit"
            return answer

        monkeypatch.setattr(Connection, "send", send)

    def held_back(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Hold the answer to the next opening back; one event tells of it, the other lets it go."""
        self._held.append((asyncio.Event(), asyncio.Event()))
        return self._held[-1]

    async def found(self, limit: int = 5) -> int:
        return len((await self.search.search(QUERY, NOBODY, limit)).hits)


@pytest.fixture
async def watched(real_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    async with search_site(real_settings) as site:
        search = site.open()
        assert isinstance(search, ElasticsearchIndex)
        await search.ensure()
        await stored(search, *(document(number, "배포를 완료했습니다") for number in range(3)))
        await search.refresh()
        yield Watched(search, monkeypatch)


async def test_searches_at_once_share_a_point(watched: Watched) -> None:
    """Given twenty searches at once, one point is opened for all; after them it is closed, once."""
    assert await asyncio.gather(*(watched.found() for _ in range(20))) == [3] * 20
    await until(lambda: _equal(watched.closed, 1))
    assert watched.opened == 1


async def test_a_point_that_a_cursor_names_stays(watched: Watched) -> None:
    """Given a page that is not the last, its point is there for the next page, however many shared it."""
    page, _ = await asyncio.gather(watched.search.search(QUERY, NOBODY, 2), watched.found())
    following = await watched.search.search(QUERY, NOBODY, 2, page.cursor)
    assert len(following.hits) == 1
    assert (watched.opened, watched.closed) == (1, 0)


async def test_a_point_is_no_older_than_its_searches(watched: Watched) -> None:
    """Given messages made visible while a point is being opened, whoever comes then finds them.

    Those who come before the server has answered wait for a point of their own, which they share.
    """
    opened, answer = watched.held_back()
    first = asyncio.create_task(watched.found())
    await opened.wait()
    await stored(watched.search, document(7, "또 배포합니다"))
    await watched.search.refresh()
    later = [asyncio.create_task(watched.found()) for _ in range(5)]
    await asyncio.sleep(0)
    answer.set()
    assert await asyncio.gather(*later) == [4] * 5
    assert await first == 3
    assert watched.opened == 2


async def test_an_opening_that_hangs_holds_nobody_up(watched: Watched) -> None:
    """Given an opening that the server does not answer, searches that come later are answered."""
    opened, answer = watched.held_back()
    first = asyncio.create_task(watched.found())
    await opened.wait()
    assert await asyncio.wait_for(watched.found(), timeout=10) == 3
    answer.set()
    assert await first == 3


async def test_one_who_gives_up_takes_nothing_from_the_others(watched: Watched) -> None:
    """Given searches of which the first is cancelled as the point is opened, the others find all."""
    first, *others = (asyncio.create_task(watched.found()) for _ in range(4))
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [3] * 3


async def test_a_point_that_cannot_be_had_is_not_shared(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an outage while a point is opened, those who waited hear of it, and the next search works."""
    down = True
    real = Connection.send

    async def send(connection: Connection, method: str, path: str, *more: Any) -> Any:
        if down and "_pit?" in path:
            raise Unavailable("search", "gone for a moment")
        return await real(connection, method, path, *more)

    monkeypatch.setattr(Connection, "send", send)
    outcomes = await asyncio.gather(*(watched.found() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in outcomes] == [Unavailable] * 3
    down = False
    assert await watched.found() == 3


async def _equal(value: int, expected: int) -> bool:
    return value == expected
