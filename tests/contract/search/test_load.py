"""Heavy searches: in bounded time, never in the way of others, on both adapters alike."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from backbone.errors import Unavailable
from backbone.search import QueryRefused, Rights, SearchIndex, SearchQuery
from backbone.search.elasticsearch import searching
from backbone.search.embedded import searchers
from backbone.search.embedded.searchers import THREADS, Searchers
from backbone.search.embedded.store import SearchFile
from backbone.settings import Settings
from tests.support.search import NOBODY, document, ids, search_site, stored
from tests.support.waiting import until

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_many_words_in_long_texts_are_found_in_time(search: SearchIndex) -> None:
    """Given the longest messages and a hundred syllables that are everywhere in them, all hits come."""
    chance = random.Random(14)
    syllables = [chr(0xAC00 + number) for number in range(2_000)]
    content = " ".join("".join(chance.choices(syllables, k=4)) for _ in range(8_000))
    await stored(search, *(document(number, content) for number in range(10)))
    words = tuple(dict.fromkeys(word[0] for word in content.split()[:100]))
    page = await search.search(SearchQuery(words=words), NOBODY, 10)
    assert len(page.hits) == 10
    for hit in page.hits:
        assert 1 <= len(hit.highlight["content"]) <= 5


async def test_lists_may_be_long(search: SearchIndex) -> None:
    """Given more values than SQLite's expressions are deep, each list narrows as a short one does."""
    many = tuple(f"u{number}" for number in range(1_500))
    await stored(
        search, document(1, mentions=many, author="u7", channel="u9"), document(2, mentions=many[1:])
    )
    assert await ids(search, SearchQuery(mentions=many)) == {"msg_1"}
    assert await ids(search, SearchQuery(mentions=(*many, "another"))) == set()
    assert await ids(search, SearchQuery(authors=many, channels=many)) == {"msg_1"}
    assert await ids(search, SearchQuery(not_authors=many)) == {"msg_2"}
    assert await ids(search, SearchQuery(not_mentions=many)) == set()


async def test_rights_may_be_many(search: SearchIndex) -> None:
    """Given more private channels than Elasticsearch takes in one clause, each of them is searched."""
    many = tuple(f"c{number}" for number in range(70_000))
    places = {1: "c0", 2: "c65535", 3: "c65536", 4: "c69999", 5: "another"}
    await stored(search, *(document(n, channel=channel, private=True) for n, channel in places.items()))
    for query in (SearchQuery(words=("안녕하세요",)), SearchQuery(authors=("kim",), sort="newest")):
        assert await ids(search, query, Rights(many)) == {"msg_1", "msg_2", "msg_3", "msg_4"}


async def test_a_query_that_holds_too_much_is_refused(embedded_settings: Settings, tmp_path: Path) -> None:
    """What exceeds SQLite's limits is the query's fault: the file is not said to be unavailable."""
    file = SearchFile(tmp_path / "search.sqlite3")
    with pytest.raises(QueryRefused) as caught, file.reading() as connection:
        connection.execute(f"SELECT {'-(' * 2_000}1{')' * 2_000}")
    assert str(tmp_path) not in str(caught.value)
    file.close()


async def test_the_server_s_refusal_of_too_much_is_no_outage(real_settings: Settings) -> None:
    """Given a phrase beyond the clauses that Elasticsearch allows, the query is refused, the rest works."""
    async with search_site(real_settings) as site:
        search = site.open()
        await search.ensure()
        await stored(search, document(1, "배포"))
        with pytest.raises(QueryRefused):
            await search.search(SearchQuery(phrases=("w x " * 20_000,)), NOBODY, 1)
        assert await ids(search, SearchQuery(words=("배포",))) == {"msg_1"}


async def test_the_server_gives_up_in_time(real_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a phrase that repeats itself, in texts that do, a search is over before others suffer."""
    async with search_site(real_settings) as site:
        search = site.open()
        await search.ensure()
        await stored(search, *(document(number, "가나" * 20_000) for number in range(10)))
        repeating = SearchQuery(phrases=("가나" * 250,))
        assert (await search.search(repeating, NOBODY, 1)).total == 10
        monkeypatch.setattr(searching, "LOOKED_FOR_S", 0.01)
        with pytest.raises(Unavailable, match="longer than"):
            await search.search(repeating, NOBODY, 1)
        assert await ids(search, SearchQuery(authors=("nobody",))) == set()


class Heavy:
    """Searchers, and an operation that ends only when it is interrupted."""

    def __init__(self, path: Path) -> None:
        self.searchers = Searchers(path)
        self.running = 0

    def endless(self, connection: sqlite3.Connection) -> None:
        self.running += 1
        try:
            connection.execute(_ENDLESS).fetchall()
        finally:
            self.running -= 1

    async def started(self, number: int) -> list[asyncio.Task[None]]:
        """Start so many endless searches, and return once all of them run."""
        tasks = [asyncio.create_task(self.searchers.run(self.endless)) for _ in range(number)]
        await until(_returning(lambda: self.running == number))
        return tasks


def _returning(condition: Callable[[], bool]) -> Any:
    async def holds() -> bool:
        return condition()

    return holds


def _one(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT 1").fetchone()[0])


@pytest.fixture
async def heavy(tmp_path: Path) -> AsyncIterator[Heavy]:
    heavy = Heavy(tmp_path / "search.sqlite3")
    yield heavy
    await heavy.searchers.close()


async def test_others_are_answered_beside_heavy_searches(heavy: Heavy) -> None:
    """Given all threads but one in endless searches, another search is answered at once."""
    tasks = await heavy.started(THREADS - 1)
    assert await heavy.searchers.run(_one) == 1
    assert not any(task.done() for task in tasks)
    await heavy.searchers.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert heavy.running == 0


async def test_a_search_that_nobody_waits_for_ends(heavy: Heavy) -> None:
    """Given that all who asked have gone, their threads are free again."""
    tasks = await heavy.started(THREADS)
    waiting = asyncio.create_task(heavy.searchers.run(_one))
    for task in tasks:
        task.cancel()
    assert await waiting == 1
    await until(_returning(lambda: heavy.running == 0))


async def test_a_search_that_takes_too_long_is_unavailable(
    heavy: Heavy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told in time, so is one that only waited its turn; then the threads are free again."""
    monkeypatch.setattr(searchers, "SEARCH_TIMEOUT_S", 0.2)
    tasks = [asyncio.create_task(heavy.searchers.run(heavy.endless)) for _ in range(THREADS + 1)]
    for task in tasks:
        with pytest.raises(Unavailable, match="longer than") as caught:
            await task
        assert "sqlite" not in str(caught.value)
    await until(_returning(lambda: heavy.running == 0))
    assert await heavy.searchers.run(_one) == 1
