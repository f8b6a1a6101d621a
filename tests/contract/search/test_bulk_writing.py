"""Bulk requests to the real Elasticsearch behind a door that lets only some of them through."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from backbone.errors import Unavailable
from backbone.search import IndexedDocument
from backbone.search.elasticsearch import ElasticsearchIndex, bulk, writing
from backbone.search.elasticsearch.answers import refusal
from backbone.search.elasticsearch.writing import IN_FLIGHT, BulkWriter
from backbone.settings import Settings
from tests.support.search import document, search_site
from tests.support.waiting import until

_FULL = {"type": "es_rejected_execution_exception", "reason": "the queue is full"}


class Door:
    """Passes bulk requests on to the server; what it turns away is answered as a full server answers."""

    def __init__(self, search: ElasticsearchIndex) -> None:
        self._search = search
        self.sent: list[list[str]] = []
        """The ids of each request, in order."""
        self.whole: list[int] = []
        """The statuses with which the next requests are turned away."""
        self.turns_away: Callable[[str], int | None] = lambda _: None
        """Gives the status of an item that is turned away, by its id."""
        self.opened = asyncio.Event()
        self.opened.set()
        self.inside = self.most_inside = 0

    async def send(self, path: str, body: bytes) -> Any:
        lines = body.splitlines(keepends=True)
        items = [b"".join(lines[start : start + 2]) for start in range(0, len(lines), 2)]
        found = [msgspec.json.decode(action)["index"]["_id"] for action in lines[::2]]
        self.sent.append(found)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await self.opened.wait()
            if self.whole:
                raise refusal(self.whole.pop(0), {"error": _FULL}, "alias")
            return await self._pass_on(path, found, items)
        finally:
            self.inside -= 1

    async def _pass_on(self, path: str, found: list[str], items: list[bytes]) -> Any:
        statuses = [self.turns_away(message_id) for message_id in found]
        taken = [item for item, status in zip(items, statuses, strict=True) if status is None]
        answer: Any = {"errors": False, "items": []}
        if taken:
            answer = await self._search._bulk(path, b"".join(taken))
        answers = iter(answer["items"])
        merged = [
            next(answers) if status is None else {"index": {"status": status, "error": _FULL}}
            for status in statuses
        ]
        return {"errors": answer["errors"] or any(statuses), "items": merged}


class Bench:
    """An index with a writer whose requests go through the door."""

    def __init__(self, search: ElasticsearchIndex, path: str) -> None:
        self.search = search
        self.door = Door(search)
        self._writer = BulkWriter(self.door.send)
        self._path = path

    async def put(self, *documents: IndexedDocument) -> list[str]:
        """Put documents; return the ids of those that are refused."""
        return [refused.message_id for refused in await self._writer.put(self._path, documents)]

    async def held(self) -> dict[str, int]:
        """Return the version of each message that the index holds."""
        await self.search.refresh()
        return {found.message_id: found.document.version async for found in self.search.scan()}


@pytest.fixture
async def bench(real_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(writing, "FIRST_PAUSE_S", 0.01)
    async with search_site(real_settings) as site:
        search = site.open()
        assert isinstance(search, ElasticsearchIndex)
        await search.ensure()
        yield Bench(search, f"/{real_settings.search_alias}/_bulk?require_alias=true")


@pytest.mark.parametrize("status", [429, 503])
async def test_only_what_was_not_taken_is_sent_again(bench: Bench, status: int) -> None:
    """Given a server that has no room for two items twice, the others are sent once, and all is stored."""
    turned = {"msg_2": 2, "msg_5": 2}

    def turns_away(message_id: str) -> int | None:
        turned[message_id] = turned.get(message_id, 0) - 1
        return status if turned[message_id] >= 0 else None

    bench.door.turns_away = turns_away
    before = REGISTRY.get_sample_value("maeari_search_sent_again_total") or 0.0
    assert await bench.put(*(document(number) for number in range(8))) == []
    assert REGISTRY.get_sample_value("maeari_search_sent_again_total") == before + 4
    assert bench.door.sent[1:] == [["msg_2", "msg_5"], ["msg_2", "msg_5"]]
    assert await bench.held() == {f"msg_{number}": number + 1 for number in range(8)}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_request_that_was_turned_away_is_sent_again(bench: Bench, status: int) -> None:
    """As a whole, after a pause; then it is stored."""
    bench.door.whole = [status, status]
    assert await bench.put(document(1), document(2)) == []
    assert bench.door.sent == [["msg_1", "msg_2"]] * 3
    assert len(await bench.held()) == 2


async def test_what_is_refused_is_named_once(bench: Bench) -> None:
    """Given a document that no index takes beside one that has to wait, each meets its own fate."""
    waits = [429, 429]
    bench.door.turns_away = lambda message_id: waits.pop() if message_id == "msg_3" and waits else None
    bad = document(2, created_at="2026-13-45T99:00:00.000Z")
    assert await bench.put(document(1), bad, document(3)) == ["msg_2"]
    assert set(await bench.held()) == {"msg_1", "msg_3"}


async def test_patience_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a server that stays full, the call ends in time with its reason; what was taken is stored."""
    monkeypatch.setattr(writing, "TAKEN_WITHIN_S", 0.2)
    bench.door.turns_away = lambda message_id: 429 if message_id == "msg_1" else None
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match="the queue is full"):
            await bench.put(document(1), document(2))
    assert len(bench.door.sent) > 2
    assert set(await bench.held()) == {"msg_2"}
    bench.door.turns_away = lambda _: None
    assert await bench.put(document(1), document(2)) == [], "no slot is lost, and a repetition is no error"
    assert set(await bench.held()) == {"msg_1", "msg_2"}


async def test_some_requests_are_on_their_way_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several, and never more than the bound, however many calls there are at once."""
    monkeypatch.setattr(bulk, "BODY_MAX_DOCUMENTS", 10)
    bench.door.opened.clear()
    calls = [
        asyncio.create_task(bench.put(*(document(number, version=version) for number in range(200))))
        for version in (300, 400)
    ]

    async def waiting() -> bool:
        return bench.door.inside == IN_FLIGHT

    await until(waiting)
    bench.door.opened.set()
    assert await asyncio.gather(*calls) == [[], []]
    assert bench.door.most_inside == IN_FLIGHT
    assert len(bench.door.sent) == 40
    assert set((await bench.held()).values()) == {400}


async def test_one_portion_that_fails_fails_the_call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a server that is not allowed to take one portion, the call raises one error, and slots stay."""
    monkeypatch.setattr(bulk, "BODY_MAX_DOCUMENTS", 2)
    for _ in range(IN_FLIGHT + 1):
        bench.door.turns_away = lambda message_id: 500 if message_id == "msg_7" else None
        with pytest.raises(Unavailable, match="was not taken"):
            await bench.put(*(document(number) for number in range(20)))
    bench.door.turns_away = lambda _: None
    assert await bench.put(*(document(number) for number in range(20))) == []
    assert len(await bench.held()) == 20
