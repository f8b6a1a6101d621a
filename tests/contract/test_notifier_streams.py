"""Streams of channels on several nodes: hints lost, sockets cut, clients slow, and each sequence exact."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from backbone.database.engine import Database
from backbone.eventlog import EventLog
from backbone.health import Health
from backbone.settings import Settings
from backbone.streams import ends_of
from backbone.wiring import open_database
from notifier.tail import Tail
from notifier.wire import Limits
from schemas.topics import ALL_TOPICS
from tests.support.api import add_member, delete, edit, make_channel, remove_member
from tests.support.backend import Backend
from tests.support.eventlog import log_site
from tests.support.sockets import LOOKING_OFTEN, ONLY_HINTS, Client, Node, node
from tests.support.waiting import until


@pytest.fixture
async def database(stores: Settings) -> AsyncIterator[Database]:
    """The backend's database, as another process has it."""
    database = open_database(stores)
    yield database
    await database.close()


@pytest.fixture
async def eventlog(stores: Settings) -> AsyncIterator[EventLog]:
    """The backend's log, as another process has it."""
    async with log_site(stores) as site:
        log = site.open()
        await log.apply_topics(ALL_TOPICS, stores.partitions)
        yield log


async def test_the_log_says_when_to_look(
    stores: Settings, eventlog: EventLog, backend: Backend, database: Database
) -> None:
    """Given subscribers on two nodes that only hear of the log, each gets what is told there, in order."""
    del stores
    health = Health("eventlog", "database")
    await make_channel(backend, "공지", "owner")
    async with (
        node(database, limits=ONLY_HINTS) as first,
        node(database, limits=ONLY_HINTS) as second,
        first.connected("bora") as here,
        second.connected("chul") as there,
    ):
        tails = [Tail(eventlog, each.hub, each.feeds, health) for each in (first, second)]
        for client in (here, there):
            await client.hello()
            assert await client.subscribe("공지", 0) == 0
            assert await client.sequences(1) == [1]
        for tail in tails:
            await tail.step(0)
        message = await backend.post("공지", "owner", "하나")
        await edit(backend, message, content="둘")
        await add_member(backend, "owner", "dana", "공지")
        await delete(backend, message, "owner")
        told = await backend.relay()
        for tail in tails:
            read = 0
            while read < told:
                read += await tail.step()
        assert await here.sequences(4) == await there.sequences(4) == [2, 3, 4, 5]
        for tail in tails:
            await tail.close()


async def test_cutting_and_resuming_at_random(backend: Backend, database: Database) -> None:
    """While channels are written to, and members put out and let in, clients that are cut and resume on
    two nodes, of which hints are lost, each see every event of the stream once, in order."""
    chance = random.Random(11)
    channel_ids = ["공개", "비밀"]
    await make_channel(backend, "공개", "owner", "bora")
    await make_channel(backend, "비밀", "owner", "bora", "chul", private=True)
    done = asyncio.Event()

    async def write(nodes: list[Node]) -> None:
        posted = {channel_id: [await backend.post(channel_id, "owner", "처음")] for channel_id in channel_ids}
        for number in range(120):
            channel_id = chance.choice(channel_ids)
            match chance.randrange(8):
                case 0:
                    await delete(backend, posted[channel_id].pop(), "owner")
                case 1:
                    await edit(backend, posted[channel_id][-1], content=f"또 {number}")
                case 2:
                    await remove_member(backend, "owner", "bora", channel_id)
                    await add_member(backend, "owner", "bora", channel_id)
                case _:
                    pass
            posted[channel_id].append(await backend.post(channel_id, "owner", f"{number}"))
            for server in nodes:
                if chance.random() < 0.5:
                    await server.hint(channel_id)
        done.set()

    async def listen(nodes: list[Node], user_id: str, seed: int) -> dict[str, list[int]]:
        chance = random.Random(seed)
        seen: dict[str, list[int]] = {channel_id: [] for channel_id in channel_ids}
        while not (done.is_set() and await _complete(database, seen)):
            async with chance.choice(nodes).connected(user_id) as client:
                await client.hello()
                await _listen_for_a_while(client, seen, chance)
        return seen

    async with (
        node(database, limits=LOOKING_OFTEN) as first,
        node(database, limits=LOOKING_OFTEN) as second,
    ):
        nodes = [first, second]
        who = ["owner", "chul", "bora", "bora"]
        listening = [listen(nodes, user_id, seed) for seed, user_id in enumerate(who)]
        _, *results = await asyncio.gather(write(nodes), *listening)
    ends = await ends_of(database, channel_ids)
    expected = {channel_id: list(range(1, end + 1)) for channel_id, end in ends.items()}
    assert results == [expected] * 4


async def _complete(database: Any, seen: dict[str, list[int]]) -> bool:
    ends = await ends_of(database, list(seen))
    return all(len(numbers) >= ends[channel_id] for channel_id, numbers in seen.items())


async def _listen_for_a_while(client: Client, seen: dict[str, list[int]], chance: random.Random) -> None:
    """Subscribe where the numbers end, and take so many frames, or as many as come in a moment."""
    for channel_id, numbers in seen.items():
        position = numbers[-1] if numbers else 0
        await client.say(f'{{"type":"subscribe","channel_id":"{channel_id}","after_sequence":{position}}}')
    try:
        for _ in range(chance.randint(1, 40)):
            async with asyncio.timeout(0.5):
                frame: Any = await client.frame()
            if hasattr(frame, "event"):
                seen[frame.event.payload.channel_id].append(frame.event.sequence)
    except TimeoutError:
        return


async def test_a_client_that_is_slow_falls_behind_and_gets_all(backend: Backend, database: Database) -> None:
    """More than a client has room for waits in the record, not in memory; it gets it when it reads again."""
    before = fell_behind()
    await make_channel(backend, "c", "owner")
    async with node(database, limits=LOOKING_OFTEN) as server, server.connected("bora") as client:
        await client.hello()
        await client.subscribe("c")
        client.socket.transport.pause_reading()
        for _ in range(60):
            await backend.post("c", "owner", "가" * 40_000)

        async def behind() -> bool:
            return fell_behind() > before

        await until(behind)
        assert 0 < server.unsent_bytes() < 256 * 1024
        client.socket.transport.resume_reading()
        assert await client.sequences(60) == list(range(2, 62))


async def test_a_subscriber_that_takes_nothing_in_is_closed(backend: Backend, database: Database) -> None:
    """It is closed with 4408 in bounded time, and resumes; others are not kept waiting."""
    limits = Limits(look_every_s=0.02, send_timeout_s=0.2, close_timeout_s=0.2)
    before = closed_as_too_slow()
    await make_channel(backend, "c", "owner")
    async with node(database, limits=limits) as server, server.connected("chul") as other:
        await other.hello()
        await other.subscribe("c", 1)
        async with server.connected("bora") as client:
            await client.hello()
            await client.subscribe("c", 1)
            client.socket.transport.pause_reading()

            async def closed() -> bool:
                return closed_as_too_slow() > before and server.unsent_bytes() == 0

            for _ in range(80):
                await backend.post("c", "owner", "가" * 40_000)
            assert await other.sequences(80) == list(range(2, 82))
            await until(closed)
            client.socket.transport.abort()
        async with server.connected("bora") as client:
            await client.hello()
            assert await client.subscribe("c", 79) == 79
            assert await client.sequences(2) == [80, 81]


def closed_as_too_slow() -> float:
    """Return how many sockets this process has closed with 4408."""
    return REGISTRY.get_sample_value("maeari_notifier_sockets_closed_total", {"code": "4408"}) or 0


def fell_behind() -> float:
    """Return how often a client of this process had no room for an event."""
    return REGISTRY.get_sample_value("maeari_notifier_fell_behind_total") or 0
