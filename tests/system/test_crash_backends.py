"""kill -9 of backends under load on real servers: clients go on with another; nothing is lost, or twice."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from backbone.eventlog import EventLog
from backbone.settings import Settings, read_settings
from backbone.wiring import open_ports
from schemas.events import decode_stream_event
from schemas.topics import STREAM_TOPICS
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics, read_all
from tests.support.relaying import last_versions, nothing_left
from tests.support.stored import check_stored
from tests.support.waiting import until
from tests.system import stores as compare
from tests.system.fold import Fold, fold_of_log
from tests.system.processes import Surroundings

CLIENTS = 10
BETWEEN_KILLS = 250


@pytest.fixture
async def surroundings(real_settings: Settings, tmp_path: Path, unique: str) -> AsyncIterator[Surroundings]:
    async with own_database(real_settings, unique) as own, dropped_topics(own):
        made = Surroundings(
            tmp_path,
            {
                "DATABASE_URL": own.database_url,
                "EVENTLOG_URL": own.eventlog_url,
                "SEARCH_URL": own.search_url,
                "TOPIC_PREFIX": own.topic_prefix,
                "SEARCH_ALIAS": own.search_alias,
                "WRITE_RATE": "100000",
                "WRITE_BURST": "100000",
            },
        )
        await made.run("migrate")
        await made.run("topics", "apply")
        yield made


@dataclass
class Writer:
    """One user, who does one thing after the other and asks again, anywhere, until each is answered."""

    number: int
    backends: Sequence[httpx.AsyncClient]
    contents: dict[str, str] = field(default_factory=dict)
    """What each message must hold in the end, by its id; deleted ones hold nothing."""
    keys: dict[str, str] = field(default_factory=dict)
    answered: int = 0

    async def write(self, stop: asyncio.Event) -> None:
        """Post, edit and delete until told to stop."""
        for number in count():
            if stop.is_set():
                return
            message_id = await self._post(f"{self.number}/{number}")
            if number % 3 == 0:
                text = f"{self.number}/{number} edited"
                await self._ask("PATCH", f"/messages/{message_id}", 200, json={"content": text})
                self.contents[message_id] = text
            if number % 7 == 0:
                await self._ask("DELETE", f"/messages/{message_id}", 204)
                self.contents[message_id] = ""

    async def _post(self, text: str) -> str:
        body = {"channel_id": f"c{self.number % 4}", "content": text}
        answer = await self._ask("POST", "/messages", 201, 200, json=body, key=text)
        message_id: str = answer.json()["message_id"]
        self.keys[text] = message_id
        self.contents[message_id] = text
        return message_id

    async def _ask(
        self, method: str, path: str, *statuses: int, key: str | None = None, **more: Any
    ) -> httpx.Response:
        headers = {"X-User-Id": f"u{self.number}", **({} if key is None else {"Idempotency-Key": key})}
        turn = count(self.number + self.answered)

        async def attempt() -> httpx.Response | None:
            backend = self.backends[next(turn) % len(self.backends)]
            try:
                answer = await backend.request(method, path, headers=headers, **more)
            except httpx.TransportError:
                return None
            return None if answer.status_code == 503 else answer

        answer = await until(attempt, within_s=20, every_s=0.01)
        assert answer is not None
        assert answer.status_code in statuses, answer.text
        self.answered += 1
        return answer


@pytest.mark.timeout(120)
async def test_two_backends_killed_in_turn(surroundings: Surroundings) -> None:
    """Whatever was answered is stored, told in order and in the states, once, whoever died when."""
    ports = (surroundings.ports.api, surroundings.ports.notifier)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10)
            )
            for port in ports
        ]
        processes = await stack.enter_async_context(killed_at_the_end())
        first, second = await asyncio.gather(*(started(surroundings, port) for port in ports))
        processes += [first, second]
        writers = [Writer(number, backends) for number in range(CLIENTS)]
        writing = asyncio.gather(*(writer.write(stop) for writer in writers))
        try:
            await more_is_answered(writers)
            await kill(first)
            await more_is_answered(writers)
            processes.append(await started(surroundings, ports[0]))
            await more_is_answered(writers)
            await kill(second)
            await more_is_answered(writers)
        finally:
            stop.set()
            await writing
        settings = read_settings(surroundings.environment(), dotenv=None)
        stores = await stack.enter_async_context(open_ports(settings))
        # The shards of the one that was killed have come to the other by then.
        await until(partial(nothing_left, stores.database), within_s=20)
        fold = await fold_of_log(stores.eventlog)
        check_answered(writers, fold)
        await check_stored(stores.database, relayed=True)
        await compare.check_database(stores.database, fold)
        await compare.check_states(stores.eventlog, fold)
        await check_order(stores.eventlog, fold)


def check_answered(writers: Sequence[Writer], fold: Fold) -> None:
    """Every key made one message, and nothing else made any; each is as its author left it."""
    contents = {id_: text for writer in writers for id_, text in writer.contents.items()}
    assert len(contents) == sum(len(writer.keys) for writer in writers) > 2 * BETWEEN_KILLS
    found = {
        id_: "" if folded.deleted else folded.message["content"] for id_, folded in fold.messages.items()
    }
    assert found == contents


async def check_order(eventlog: EventLog, fold: Fold) -> None:
    """Each topic tells a channel's events in order, repeats aside; a message's newest state is its last."""
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in await read_all(eventlog, *STREAM_TOPICS):
        event = decode_stream_event(record.value or b"")
        known = seen[record.topic, event.payload.channel_id]
        if event.sequence not in known:
            known.append(event.sequence)
    for place, sequences in seen.items():
        assert sequences == sorted(sequences), place
    versions = {id_: folded.version for id_, folded in fold.messages.items()}
    assert await last_versions(eventlog) == versions


async def more_is_answered(writers: Sequence[Writer]) -> None:
    """Wait until much more has been answered, to every writer."""
    before = [writer.answered for writer in writers]

    async def enough() -> bool:
        gains = [writer.answered - was for writer, was in zip(writers, before, strict=True)]
        return sum(gains) >= BETWEEN_KILLS and min(gains) > 0

    await until(enough, within_s=30)


async def started(surroundings: Surroundings, port: int) -> asyncio.subprocess.Process:
    return await surroundings.start("backend", probe=port, PORT=str(port))


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


@asynccontextmanager
async def killed_at_the_end() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Yield a list; what stands in it at the end, and still runs, is killed."""
    processes: list[asyncio.subprocess.Process] = []
    try:
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                await kill(process)
