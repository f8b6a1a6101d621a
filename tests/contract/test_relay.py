"""The relay between a real database and a real log: everything stored is told, in order, at least once."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import func, select

from backbone.database.ownership import IDLE_SESSION_TIMEOUT_MS, ownership
from backbone.database.tables import outbox
from backbone.errors import Unavailable
from backbone.eventlog import NewRecord
from backbone.relay import BATCH_MAX_CHARACTERS, Relay
from backbone.settings import Settings
from schemas.events import decode_message_event, decode_stream_event
from schemas.states import decode_state
from schemas.topics import MESSAGES_STATE, STREAM_TOPICS
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, make_topics, running_backend, user
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.waiting import until


@pytest.fixture(params=ADAPTERS)
async def backend(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Backend]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own, dropped_topics(own), running_backend(own) as running:
        await make_topics(running, own)
        yield running


async def write_some(backend: Backend) -> None:
    for n in range(20):
        message = await backend.post(f"채널{n % 3}", f"u{n % 4}", f"message {n}")
        path = f"/messages/{message['message_id']}"
        if n % 2:
            await backend.client.patch(path, json={"content": "edited"}, headers=user(message["author_id"]))
        if n % 5 == 0:
            await backend.client.delete(path, headers=user(message["author_id"]))


async def test_everything_stored_is_told_in_order(backend: Backend) -> None:
    """Each topic's sequences rise per channel, the topics merged have no gap, and the outbox is empty."""
    await write_some(backend)
    assert await backend.relay() == 3 + 20 + 10 + 4
    records = await backend.told(*STREAM_TOPICS)
    for record in records:
        assert record.value is not None
        assert dict(record.headers)["event_type"].decode() in record.value.decode()
    events = [(record.topic, decode_stream_event(record.value or b"")) for record in records]
    for channel in {event.payload.channel_id for _, event in events}:
        for topic in STREAM_TOPICS:
            told_here = [e.sequence for t, e in events if t == topic.name and e.payload.channel_id == channel]
            assert told_here == sorted(told_here)
        merged = sorted(e.sequence for _, e in events if e.payload.channel_id == channel)
        assert merged == list(range(1, len(merged) + 1))
    async with backend.ports.database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(outbox)) == 0


async def test_the_state_topic_holds_each_message_last_state(backend: Backend) -> None:
    """Keyed by message, in relay order: the last record of a key is the message's newest version."""
    await write_some(backend)
    await backend.relay()
    last = {record.key: decode_state(record.value or b"") for record in await backend.told(MESSAGES_STATE)}
    assert len(last) == 20
    newest: dict[str, int] = {}
    for record in await backend.told(*STREAM_TOPICS[:3]):
        event = decode_message_event(record.value or b"")
        newest[event.payload.message_id] = max(event.sequence, newest.get(event.payload.message_id, 0))
    assert {key: state.version for key, state in last.items()} == newest
    assert sum(state.deleted for state in last.values()) == 4


class TellsButForgets:
    """A relay's log that stores everything and then claims that it did not: an acknowledgement lost."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def send(self, records: Sequence[NewRecord]) -> None:
        real = await self._backend.ports.eventlog.producer()
        await real.send(records)
        await real.close()
        raise Unavailable("eventlog", "the connection was cut after the records were stored")

    async def close(self) -> None:
        return None


async def test_a_lost_acknowledgement_repeats_and_loses_nothing(backend: Backend) -> None:
    """What the log has but did not acknowledge stays in the outbox, and is told again, in order."""
    await backend.post("c", "a", "once")
    relay = Relay(backend.ports.database, backend.ports.eventlog, "messages", backend.health)
    relay._producer = TellsButForgets(backend)
    with pytest.raises(Unavailable):
        await step_once(backend, relay)
    assert await backend.relay() == 2
    events = [decode_stream_event(record.value or b"") for record in await backend.told(*STREAM_TOPICS)]
    assert sorted(event.sequence for event in events) == [1, 1, 2, 2]
    assert len({event.event_id for event in events}) == 2


async def test_a_slow_log_does_not_cost_the_ownership(backend: Backend) -> None:
    """A send that outlasts the server's patience with an idle owner: nobody else takes over meanwhile."""
    await backend.post("c", "a", "slow")
    relay = Relay(backend.ports.database, backend.ports.eventlog, "messages", backend.health)
    slow = Slow()
    relay._producer = slow
    stepping = asyncio.create_task(step_once(backend, relay))
    await slow.sending.wait()
    async with ownership(backend.ports.database, "relay/messages") as second:
        assert second is None
    await stepping
    assert await backend.relay() == 0


class Slow:
    """A producer that takes longer than an idle session may."""

    def __init__(self) -> None:
        self.sending = asyncio.Event()

    async def send(self, records: Sequence[NewRecord]) -> None:
        await asyncio.sleep(IDLE_SESSION_TIMEOUT_MS / 1000 + 1.5)
        self.sending.set()
        await asyncio.sleep(0.3)

    async def close(self) -> None:
        return None


async def test_a_backlog_of_large_messages_drains_in_batches_of_bounded_size(backend: Backend) -> None:
    """However large the messages, what is sent at once stays small, and all of it is told in order."""
    for _ in range(30):
        await backend.post("c", "a", "\u0001" * 40_000)
    relay = Relay(backend.ports.database, backend.ports.eventlog, "messages", backend.health)
    steps = []
    async with ownership(backend.ports.database, "relay/messages") as connection:
        assert connection is not None
        while told_now := await relay.step(connection):
            steps.append(told_now)
    await relay.close()
    assert sum(steps) == 31
    assert max(steps) <= 1 + BATCH_MAX_CHARACTERS // 240_000
    records = await backend.told(*STREAM_TOPICS[:3])
    assert [decode_stream_event(record.value or b"").sequence for record in records] == list(range(2, 32))


async def test_two_relays_hand_over(backend: Backend) -> None:
    """Of two relays one works; when it stops, the other goes on, and nothing is told out of order."""
    stops = [asyncio.Event(), asyncio.Event()]
    relays = [
        Relay(backend.ports.database, backend.ports.eventlog, "messages", backend.health) for _ in stops
    ]
    running = [asyncio.create_task(relay.run(stop)) for relay, stop in zip(relays, stops, strict=True)]
    for stop, task in zip(stops, running, strict=True):
        await write_some(backend)
        await until(lambda: nothing_left(backend))
        stop.set()
        await task
    events = [decode_stream_event(record.value or b"") for record in await backend.told(*STREAM_TOPICS)]
    for channel in {event.payload.channel_id for event in events}:
        sequences = sorted(event.sequence for event in events if event.payload.channel_id == channel)
        assert sequences == list(range(1, len(sequences) + 1))


async def nothing_left(backend: Backend) -> bool:
    async with backend.ports.database.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(outbox)) == 0


async def step_once(backend: Backend, relay: Relay) -> None:
    async with ownership(backend.ports.database, "relay/messages") as connection:
        assert connection is not None
        await relay.step(connection)
