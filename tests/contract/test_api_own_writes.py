"""Own writes over the search route: waited for, in the asked time, and never claimed falsely."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest

from backbone.errors import Unavailable
from backbone.search import SearchIndex, SearchPage, SearchQuery
from backend.api.search import WAIT_MAX_S
from backend.consistency import ConsistencyToken
from backend.queries import search as search_queries
from backend.queries.search import Found, Search, find_messages
from tests.support.backend import user
from tests.support.searching import SearchableBackend, make_private

# What a busy machine may take beyond the asked time; on an idle one it is some milliseconds.
LATE_S = 1.0


async def ask(
    searchable: SearchableBackend, q: str, token: str, prefer: str = "", **more: Any
) -> httpx.Response:
    headers = {"Consistency-Token": token} | ({"Prefer": prefer} if prefer else {})
    client = searchable.backend.client
    return await client.get("/messages/search", params={"q": q, **more}, headers=headers)


async def posted(searchable: SearchableBackend, content: str) -> tuple[str, str]:
    """Post a message; return its path and its token."""
    body = {"channel_id": "c", "author_id": "a", "content": content}
    answer = await searchable.backend.client.post("/messages", json=body)
    return answer.headers["Location"], answer.headers["Consistency-Token"]


async def timed(answer: Any) -> tuple[httpx.Response, float]:
    loop = asyncio.get_running_loop()
    start = loop.time()
    return await answer, loop.time() - start


async def test_without_an_indexer_the_time_runs_out(searchable: SearchableBackend) -> None:
    """Nobody indexes: each answer says `false`, not before the asked time and not long after it."""
    _, token = await posted(searchable, "배포")
    asked = {"": 2.0, "wait=0": 0.0, "wait=1": 1.0, 'respond-async, Wait = "1"': 1.0, "wait=soon": 2.0}
    answers = await asyncio.gather(*(timed(ask(searchable, "배포", token, prefer)) for prefer in asked))
    for wait_s, (answer, took_s) in zip(asked.values(), answers, strict=True):
        assert (answer.status_code, answer.headers["Search-Complete"], answer.json()) == (200, "false", [])
        assert wait_s <= took_s < wait_s + LATE_S


async def test_nobody_waits_for_longer_than_the_most(
    searchable: SearchableBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given more asked for, the most is given; others are answered meanwhile, without a token at once."""
    assert WAIT_MAX_S == 10
    monkeypatch.setattr("backend.api.search.WAIT_MAX_S", 1.5)
    _, token = await posted(searchable, "배포")
    waiting = asyncio.create_task(timed(ask(searchable, "배포", token, f"wait={10**20}")))
    answer, took_s = await timed(searchable.search("배포"))
    assert "Search-Complete" not in answer.headers
    assert took_s < LATE_S
    answer, took_s = await waiting
    assert answer.headers["Search-Complete"] == "false"
    assert 1.5 <= took_s < 1.5 + LATE_S


async def test_every_kind_of_write_is_waited_for(searchable: SearchableBackend) -> None:
    """Posts, edits and deletions: the search that waits answers soon after the index has it, and shows it."""
    path, posted_token = await posted(searchable, "첫째")
    client = searchable.backend.client

    async def waited(q: str, token: str) -> list[str]:
        waiting = asyncio.create_task(ask(searchable, q, token, "wait=10"))
        await searchable.index()
        answer = await waiting
        assert answer.headers["Search-Complete"] == "true"
        return [hit["_source"]["content"] for hit in answer.json()]

    assert await waited("첫째", posted_token) == ["첫째"]
    edited = await client.patch(path, json={"content": "둘째"}, headers=user("a"))
    assert await waited("첫째", edited.headers["Consistency-Token"]) == []
    assert await waited("둘째", edited.headers["Consistency-Token"]) == ["둘째"]
    deleted = await client.delete(path, headers=user("a"))
    assert await waited("둘째", deleted.headers["Consistency-Token"]) == []
    # A newer version than the one asked for will do.
    assert (await ask(searchable, "x", posted_token, "wait=0")).headers["Search-Complete"] == "true"
    beyond = ConsistencyToken(path.rpartition("/")[2], 10**17).encode()
    assert (await ask(searchable, "x", beyond, "wait=0")).headers["Search-Complete"] == "false"


async def test_complete_means_that_the_message_is_there(searchable: SearchableBackend) -> None:
    """Given searches all the while that messages are indexed, each that says `true` shows what it names."""
    tokens = [await posted(searchable, f"배포 {number}") for number in range(12)]

    async def index() -> None:
        # One that is not refreshed by hand: on a server the documents become visible when they do.
        await searchable.backend.relay()
        await searchable.behind.index_everything()

    async def look(path: str, token: str) -> None:
        for sort in ("relevance", "newest", "oldest"):
            answer = await ask(searchable, "배포", token, "wait=10", limit=100, sort=sort)
            assert answer.headers["Search-Complete"] == "true"
            assert path.rpartition("/")[2] in {hit["_id"] for hit in answer.json()}

    await asyncio.gather(index(), *(look(*written) for written in tokens))


async def test_pages_of_a_point_in_time_do_not_wait(searchable: SearchableBackend) -> None:
    """A cursor by relevance looks back: what came later is not there, and waiting would not bring it."""
    for number in range(5):
        _, early = await posted(searchable, f"배포 {number}")
    await searchable.index()
    first = await ask(searchable, "배포", early, limit=2)
    _, late = await posted(searchable, "배포 나중")
    await searchable.index()
    link = first.links["next"]["url"]
    for token, complete in [(early, "true"), (late, "false")]:
        headers = {"Consistency-Token": token, "Prefer": "wait=10"}
        answer, took_s = await timed(searchable.backend.client.get(link, headers=headers))
        assert (answer.headers["Search-Complete"], len(answer.json())) == (complete, 2)
        assert took_s < LATE_S
    assert (await ask(searchable, "배포", late)).headers["Search-Complete"] == "true"


async def test_a_token_of_what_may_not_be_read_takes_as_long_as_one_of_nothing(
    searchable: SearchableBackend,
) -> None:
    """Outsiders cannot tell a private message that is indexed from one that never was, not by time either."""
    await make_private(searchable, "비밀", "철수")
    secret = await searchable.backend.post("비밀", "철수", "하나")
    await searchable.index()
    for message_id in (secret["message_id"], "msg_00000000-0000-7000-8000-000000000000"):
        token = ConsistencyToken(message_id, 1).encode()
        answer, took_s = await timed(ask(searchable, "하나", token, "wait=1"))
        assert (answer.headers["Search-Complete"], answer.json()) == ("false", [])
        assert 1 <= took_s < 1 + LATE_S


async def test_a_malformed_token_is_bad_input(searchable: SearchableBackend) -> None:
    """It names the header, and nothing is waited for."""
    _, whole = await posted(searchable, "배포")
    for token in ("???", "", "한글".encode(), "MTI6", "A" * 5_000, "MTptc2dfAA", whole[:-1], whole[:30]):
        headers: dict[Any, Any] = {b"Consistency-Token": token}
        answer, took_s = await timed(
            searchable.backend.client.get("/messages/search", params={"q": "x"}, headers=headers)
        )
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "Consistency-Token"
        assert took_s < LATE_S


class AnotherCopy:
    """A real index behind which another copy, that is ahead, says which versions are visible."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    async def visible_version(self, _message_id: str) -> int | None:
        return 10**6


class Freezing:
    """A real index that stops answering looks after a while."""

    def __init__(self, index: SearchIndex, looks: int) -> None:
        self._index = index
        self._looks = looks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    async def visible_version(self, message_id: str) -> int | None:
        self._looks -= 1
        if self._looks < 0:
            await asyncio.Event().wait()
        return await self._index.visible_version(message_id)


class Slow:
    """A real index that takes its time for each search."""

    def __init__(self, index: SearchIndex, late_s: float) -> None:
        self._index = index
        self._late_s = late_s

    async def search(self, *asked: Any) -> SearchPage:
        await asyncio.sleep(self._late_s)
        return await self._index.search(*asked)


@pytest.mark.parametrize("late_s", [0.2, 0.6])
async def test_all_that_a_page_takes_is_not_waited_for_longer_than_one_answer(
    searchable: SearchableBackend, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    """What was found until then is a short page, whose cursor goes on; nothing found is Unavailable."""
    monkeypatch.setattr(search_queries, "_ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(search_queries, "_AT_ONCE", 1)
    monkeypatch.setattr(search_queries, "_next_take", lambda *_: 1)
    for _ in range(8):
        await posted(searchable, "배포")
    await searchable.index()
    database = searchable.backend.ports.database
    index = cast(SearchIndex, Slow(searchable.behind.search, late_s))
    search = Search(SearchQuery(words=("배포",)), None, 8)
    if late_s > search_queries._ANSWER_WITHIN_S:
        with pytest.raises(Unavailable, match="no answer in time"):
            await find_messages(index, database, search)
        return
    hits = list[str]()
    for _ in range(8):
        found = await find_messages(index, database, search)
        assert 0 < len(found.page.hits) < 8
        hits += [hit.id for hit in found.page.hits]
        if found.page.cursor is None:
            break
        search = replace(search, cursor=found.page.cursor)
    assert len(hits) == len(set(hits)) == 8


@pytest.mark.parametrize("looks", [0, 3])
async def test_an_index_that_freezes_is_not_waited_for_longer_than_without_a_token(
    searchable: SearchableBackend, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """However long the client would wait: it is Unavailable, and not asked once more."""
    monkeypatch.setattr(search_queries, "_ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(search_queries, "_ANSWER_LATE_WITHIN_S", 0.1)
    path, _ = await posted(searchable, "배포")
    index, database = Freezing(searchable.behind.search, looks), searchable.backend.ports.database
    token = ConsistencyToken(path.rpartition("/")[2], 10**6)
    search = Search(SearchQuery(words=("배포",)), None, 20, token=token, wait_s=10)
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(Unavailable, match="no answer in time"):
        await find_messages(cast(SearchIndex, index), database, search)
    assert 0.5 <= loop.time() - start < 0.5 + LATE_S


async def test_the_word_of_another_copy_is_no_proof(searchable: SearchableBackend) -> None:
    """Given a look that says it is visible and a search that does not see it, the search is believed."""
    path, _ = await posted(searchable, "배포")
    index, database = AnotherCopy(searchable.behind.search), searchable.backend.ports.database
    token = ConsistencyToken(path.rpartition("/")[2], 1)

    async def find(wait_s: float) -> Found:
        search = Search(SearchQuery(words=("배포",)), None, 20, token=token, wait_s=wait_s)
        return await find_messages(cast(SearchIndex, index), database, search)

    loop = asyncio.get_running_loop()
    start = loop.time()
    found = await find(0.5)
    assert (found.complete, found.page.hits) == (False, ())
    assert 0.5 <= loop.time() - start < 0.5 + LATE_S
    waiting = asyncio.create_task(find(10))
    await searchable.index()
    found = await waiting
    assert (found.complete, len(found.page.hits)) == (True, 1)
