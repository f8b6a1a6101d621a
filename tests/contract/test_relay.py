"""The relay between a real database and a real log: everything stored is told, in order, at least once."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from backbone.database.ownership import IDLE_SESSION_TIMEOUT_MS, ownership
from backbone.errors import Unavailable
from backbone.eventlog import Fenced, NewRecord, Producer
from backbone.health import Health
from backbone.relay import owned_shard
from backbone.relay.shard import BATCH_MAX_BYTES, BATCH_MAX_ROWS
from backbone.wiring import open_database
from schemas.events import MessagesEvent, decode_stream_event
from schemas.states import decode_state
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE, STREAM_TOPICS
from tests.conftest import ADAPTERS
from tests.support.eventlog import read_all
from tests.support.messaging import Talk, records_of
from tests.support.relaying import (
    Stores,
    last_versions,
    nothing_left,
    own_stores,
    put,
    relaying,
    told_by_channel,
)
from tests.support.waiting import until

HEALTH = Health("database")


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Stores]:
    async with own_stores(request.getfixturevalue(f"{request.param}_settings"), unique) as opened:
        yield opened


def conversation(messages: int = 20) -> list[MessagesEvent]:
    """Return the events of some channels, their messages edited and deleted now and then."""
    talks = [Talk(f"채널{n}") for n in range(5)]
    events: list[MessagesEvent] = []
    for n in range(messages):
        talk = talks[n % 5]
        posted = talk.post(f"message {n}")
        events.append(posted)
        if n % 2:
            events.append(talk.edit(posted.payload.message_id, "edited"))
        if n % 5 == 0:
            events.append(talk.delete(posted.payload.message_id))
    return events


async def test_everything_stored_is_told_in_order(stores: Stores) -> None:
    """Each topic's sequences rise per channel, the topics merged have no gap, and the outbox is empty."""
    events = conversation()
    await put(stores.database, events)
    assert await stores.drain() == len(events)
    assert await nothing_left(stores.database)
    records = await read_all(stores.eventlog, *STREAM_TOPICS)
    for record in records:
        assert dict(record.headers)["event_type"].decode() in (record.value or b"").decode()
    told = [(record.topic, decode_stream_event(record.value or b"")) for record in records]
    for channel in {event.payload.channel_id for event in events}:
        here = [(topic, event.sequence) for topic, event in told if event.payload.channel_id == channel]
        for topic in STREAM_TOPICS:
            sequences = [sequence for name, sequence in here if name == topic.name]
            assert sequences == sorted(sequences)
        assert sorted(sequence for _, sequence in here) == list(range(2, len(here) + 2))


async def test_the_state_topic_holds_each_message_last_state(stores: Stores) -> None:
    """Keyed by message, in relay order: the last record of a key is the message's newest version."""
    events = conversation()
    await put(stores.database, events)
    await stores.drain()
    newest = {event.payload.message_id: event.sequence for event in events}
    assert await last_versions(stores.eventlog) == newest
    states = [decode_state(record.value or b"") for record in await read_all(stores.eventlog, MESSAGES_STATE)]
    assert sum(state.deleted for state in states) == 4


async def test_a_lost_acknowledgement_repeats_and_loses_nothing(stores: Stores) -> None:
    """What the log has but did not acknowledge stays in the outbox, and is told again, in order."""
    talk = Talk("c")
    await put(stores.database, [talk.post("once"), talk.post("twice")])
    shard = stores.shard_of("c")
    async with owned_shard(stores.database, stores.eventlog, "messages", shard, HEALTH) as owned:
        assert owned is not None
        owned._producer = TellsButForgets(owned._producer)
        with pytest.raises(Unavailable, match="on purpose"):
            await owned.step()
    assert await stores.drain() == 2
    assert await told_by_channel(stores.eventlog) == {"c": [2, 3, 2, 3]}


class TellsButForgets:
    """A producer that stores everything and then claims that it did not: an acknowledgement lost."""

    def __init__(self, real: Producer) -> None:
        self._real = real

    async def send(self, records: Sequence[NewRecord]) -> None:
        await self._real.send(records)
        raise Unavailable("eventlog", "cut off after the records were stored, on purpose")

    async def close(self) -> None:
        await self._real.close()


async def test_a_former_owner_cannot_put_old_behind_new(stores: Stores) -> None:
    """One that froze with a batch in hand, and wakes up when its successor has told it all, is refused."""
    talk = Talk("c")
    posted = talk.post("old")
    await put(stores.database, [posted])
    former = await stores.eventlog.producer(f"relay.messages.{stores.shard_of('c')}")
    await put(stores.database, [talk.edit(posted.payload.message_id, "new")])
    assert await stores.drain() == 2
    with pytest.raises(Fenced):
        await former.send(records_of(posted))
    await put(stores.database, [talk.post("after")])
    assert await stores.drain() == 1
    assert sorted((await told_by_channel(stores.eventlog))["c"]) == [2, 3, 4]
    assert (await last_versions(stores.eventlog))[posted.payload.message_id] == 3


async def test_a_slow_log_does_not_cost_the_ownership(stores: Stores) -> None:
    """A send that outlasts the server's patience with an idle owner: nobody else takes over meanwhile."""
    await put(stores.database, [Talk("c").post("slow")])
    shard = stores.shard_of("c")
    async with owned_shard(stores.database, stores.eventlog, "messages", shard, HEALTH) as owned:
        assert owned is not None
        slow = owned._producer = Slow(owned._producer)
        stepping = asyncio.create_task(owned.step())
        await slow.sending.wait()
        second = open_database(stores.settings)
        async with ownership(second, f"relay/messages/{shard}") as connection:
            assert connection is None
        await second.close()
        assert await stepping == 1
    assert await nothing_left(stores.database)


class Slow:
    """A producer that takes longer than an idle session may."""

    def __init__(self, real: Producer) -> None:
        self._real = real
        self.sending = asyncio.Event()

    async def send(self, records: Sequence[NewRecord]) -> None:
        await asyncio.sleep(IDLE_SESSION_TIMEOUT_MS / 1000 + 1.5)
        self.sending.set()
        await asyncio.sleep(0.3)
        await self._real.send(records)

    async def close(self) -> None:
        await self._real.close()


async def test_a_backlog_of_large_messages_drains_in_batches_of_bounded_size(stores: Stores) -> None:
    """However large the messages, what is sent at once stays small, and all of it is told in order."""
    talk = Talk("c")
    await put(stores.database, [talk.post("\u0001" * 40_000) for _ in range(30)])
    shard = stores.shard_of("c")
    steps = []
    async with owned_shard(stores.database, stores.eventlog, "messages", shard, HEALTH) as owned:
        assert owned is not None
        while told := await owned.step():
            steps.append(told)
    assert sum(steps) == 30
    assert max(steps) <= 1 + BATCH_MAX_BYTES // 240_000
    records = await read_all(stores.eventlog, MESSAGES_CREATED)
    assert [decode_stream_event(record.value or b"").sequence for record in records] == list(range(2, 32))


async def test_the_database_sends_no_more_than_is_told_at_once(stores: Stores) -> None:
    """Of a backlog of the largest messages only a few are ever in memory: up to the first one too many."""
    talk = Talk("c")
    await put(stores.database, [talk.post("\u0001" * 80_000) for _ in range(40)])
    shard = stores.shard_of("c")
    async with owned_shard(stores.database, stores.eventlog, "messages", shard, HEALTH) as owned:
        assert owned is not None
        async with owned._connection.begin():
            rows = (await owned._connection.exec_driver_sql(owned._first_rows, (BATCH_MAX_ROWS,))).all()
        sizes = [len(row.body.encode()) for row in rows]
        assert [row.size for row in rows] == sizes
        assert sum(sizes[:-1]) <= BATCH_MAX_BYTES < sum(sizes)
        assert await owned.step() == len(rows) - 1


async def test_two_relays_hand_over(stores: Stores) -> None:
    """Of two relays one stops, then the other: whoever is left tells all, once and in order."""
    talks = [Talk(f"c{n}") for n in range(8)]
    async with relaying(stores.settings) as first, relaying(stores.settings) as second:
        for ending in (first, second):
            for _ in range(10):
                await put(stores.database, [talk.post("x") for talk in talks])
            await until(lambda: nothing_left(stores.database))
            await ending.end()
            assert ending.relay.owned == set()
    told = await told_by_channel(stores.eventlog)
    assert told == {f"c{n}": list(range(2, 22)) for n in range(8)}
