"""The load: authors who post, edit and delete at a bounded rate, each asking anywhere until it is answered.

A post carries an Idempotency-Key and an edit the version that it changes, so that whatever an attempt
without an answer did is found out by the next: nothing is done twice, and no late one undoes a later one.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx

from backbone.waiting import stopped_within
from tests.faults.ledger import Entry, Ledger, State
from tests.support.waiting import until

AUTHORS = ("minji", "지훈", "서연", "alex", "김 한글", "bora", "하은", "sam")
# Users who write nothing, and are mentioned.
LISTENERS = tuple(f"듣는이-{number}" for number in range(32))
CHANNELS = ("general", "배포", "잡담", "ops", "설계 검토", "random")
EVERYONE = "@channel"
EVERY_S = 0.25
ANSWER_WITHIN_S = 3.0
PATIENCE_S = 40.0
_SENTENCES = (
    "배포를 완료했습니다",
    "검색 색인이 잠시 늦습니다",
    "the deployment is finished",
    "장애 보고서를 올려 주세요 📎",
    "please look at the index",
)


class Author:
    """One user who does one thing after the other; `name` tells the loads of a test run apart."""

    def __init__(
        self, name: str, number: int, backends: Callable[[], Sequence[httpx.AsyncClient]], ledger: Ledger
    ) -> None:
        self.acknowledged = 0
        self._name = name
        self._user_id = AUTHORS[number]
        self._number = number
        self._backends = backends
        self._ledger = ledger
        self._chance = random.Random(f"{name}/{number}")
        self._turn = count(number)
        self._mine: list[Entry] = []

    async def write(self, stop: asyncio.Event) -> None:
        """Post, edit and delete until told to stop."""
        for number in count():
            await self._once(number)
            if await stopped_within(stop, EVERY_S * self._chance.uniform(0.5, 1.5)):
                return

    async def _once(self, number: int) -> None:
        live = [entry for entry in self._mine if entry.attempt is None and not entry.last.deleted]
        match self._chance.choices(("post", "edit", "delete"), (6, 3, 1))[0] if live else "post":
            case "post":
                await self._post(f"{self._name}/{self._number}/{number}")
            case "edit":
                await self._edit(self._chance.choice(live[-10:]))
            case _:
                await self._delete(self._chance.choice(live))

    async def _post(self, key: str) -> None:
        entry = Entry(key, self._chance.choice(CHANNELS), self._user_id)
        state = State(None, f"{self._chance.choice(_SENTENCES)} [{key}]", self._some_mentions())
        self._ledger.ask(entry, state)
        body = {"channel_id": entry.channel_id, "content": state.content, "mentions": state.mentions}
        answer, _ = await self._ask("POST", "/messages", {b"Idempotency-Key": key.encode()}, body)
        assert answer.status_code in {200, 201}, _said(answer)
        message = answer.json()
        entry.message_id = message["message_id"]
        # A repeat is answered with the message as first stored.
        self._done(entry, message["version"])
        self._mine.append(entry)

    async def _edit(self, entry: Entry) -> None:
        before = entry.last
        content = f"{self._chance.choice(_SENTENCES)} [{entry.key}] 수정 {len(entry.acknowledged)}"
        state = State(None, content, self._some_mentions())
        self._ledger.ask(entry, state)
        path, headers = f"/messages/{entry.message_id}", {b"If-Match": f'"{before.version}"'.encode()}
        body = {"content": state.content, "mentions": state.mentions}
        answer, attempts = await self._ask("PATCH", path, headers, body)
        if answer.status_code == 412:
            # An attempt whose answer was lost has done it: the message says so.
            assert attempts > 1, _said(answer)
            answer, _ = await self._ask("GET", path, {}, None)
        assert answer.status_code == 200, _said(answer)
        message = answer.json()
        assert (message["content"], tuple(message["mentions"])) == (state.content, state.mentions)
        self._done(entry, message["version"])

    async def _delete(self, entry: Entry) -> None:
        self._ledger.ask(entry, State(None, "", deleted=True))
        answer, _ = await self._ask("DELETE", f"/messages/{entry.message_id}", {}, None)
        assert answer.status_code == 204, _said(answer)
        self._done(entry, None)

    def _done(self, entry: Entry, version: int | None) -> None:
        self._ledger.acknowledge(entry, version)
        self.acknowledged += 1

    def _some_mentions(self) -> tuple[str, ...]:
        mentions = self._chance.sample(AUTHORS, self._chance.choice((0, 0, 1, 1, 2)))
        mentions += self._chance.sample(LISTENERS, self._chance.choice((0, 1, 2, 4)))
        if mentions and self._chance.random() < 0.1:
            mentions[0] = EVERYONE
        return tuple(mentions)

    async def _ask(
        self, method: str, path: str, headers: dict[bytes, bytes], body: Any
    ) -> tuple[httpx.Response, int]:
        """Ask one backend after the other until one answers; return the answer and how often it was asked."""
        attempts = count(1)

        async def attempt() -> tuple[httpx.Response, int] | None:
            number, backends = next(attempts), self._backends()
            backend = backends[next(self._turn) % len(backends)]
            try:
                answer = await backend.request(
                    method, path, headers={b"X-User-Id": self._user_id.encode(), **headers}, json=body
                )
            except httpx.TransportError:
                return None
            return None if answer.status_code in {408, 429, 503} else (answer, number)

        answered = await until(attempt, within_s=PATIENCE_S, every_s=0.1)
        assert answered is not None
        return answered


class Load:
    """Authors at work."""

    def __init__(
        self, ledger: Ledger, authors: Sequence[Author], working: "asyncio.Future[list[None]]"
    ) -> None:
        self.ledger = ledger
        self._authors = authors
        self._working = working

    async def more_acknowledged(self, number: int = 100, within_s: float = 20.0) -> None:
        """Wait until that much more was acknowledged, and something to every author."""
        before = [author.acknowledged for author in self._authors]

        async def enough() -> bool:
            if self._working.done():
                self._working.result()
            gains = [author.acknowledged - was for author, was in zip(self._authors, before, strict=True)]
            return sum(gains) >= number and min(gains) > 0

        await until(enough, within_s)

    async def one_more_acknowledged(self) -> None:
        """Return right after the next acknowledgement."""
        before = self.ledger.acknowledged

        async def came() -> bool:
            return self.ledger.acknowledged > before

        await until(came, within_s=20, every_s=0.001)

    async def stalled(self, seconds: float) -> bool:
        """Say whether nothing was acknowledged for so long."""
        return self.ledger.since_last_s > seconds


@asynccontextmanager
async def loading(name: str, urls: Sequence[str], ledger: Ledger) -> AsyncIterator[Load]:
    """Keep the backends at these URLs busy during the block; at its end every request has its answer."""
    stop = asyncio.Event()
    clients = [httpx.AsyncClient(base_url=url, timeout=ANSWER_WITHIN_S) for url in urls]
    authors = [Author(name, number, lambda: clients, ledger) for number in range(len(AUTHORS))]
    working = asyncio.gather(*(author.write(stop) for author in authors))
    try:
        yield Load(ledger, authors, working)
    except BaseException:
        working.cancel()
        raise
    finally:
        stop.set()
        await asyncio.gather(working, return_exceptions=True)
        for client in clients:
            await client.aclose()
    # What an author has found wrong, if anything.
    working.result()


def _said(answer: httpx.Response) -> str:
    return f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}"
