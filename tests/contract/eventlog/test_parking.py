"""Parking, on the file and on Kafka: a record that cannot be applied stops its key, and no other."""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaProducer

from backbone.errors import Unavailable
from backbone.eventlog import MAX_RECORD_BYTES, EventLog, Fenced, NewRecord, Record, TopicPartition
from backbone.eventlog.embedded.consumer import EmbeddedConsumer
from backbone.eventlog.kafka import KafkaEventLog
from backbone.eventlog.kafka.consumer import KafkaConsumer
from backbone.eventlog.parking import Parking
from schemas.topics import DEAD_LETTERS, MESSAGES_CREATED, MESSAGES_UPDATED, partition_of
from tests.support.consuming import Effects
from tests.support.eventlog import LogSite, append, read_all, record
from tests.support.parking import GROUP, TOPICS, Member, ask, letters, member, parked
from tests.support.waiting import until

KEYS = {partition_of(f"채널{n}", 3): f"채널{n}" for n in range(20)}
STUCK, FREE = KEYS[0], KEYS[1]
BESIDE = next(f"k{n}" for n in range(100) if partition_of(f"k{n}", 3) == 0)
"""Another key, in the partition of the one that is stuck."""


@pytest.fixture
async def log(site: LogSite) -> EventLog:
    opened = site.open()
    await opened.apply_topics((*TOPICS, DEAD_LETTERS), 3)
    return opened


async def send(log: EventLog, key: str, *texts: str) -> None:
    await append(log, [record(MESSAGES_CREATED, key, text) for text in texts])


async def test_a_record_that_cannot_be_read_stops_its_key_alone(log: EventLog) -> None:
    """It and all later ones of its key are parked in order, of whatever topic; others go on."""
    await send(log, STUCK, "before", "!bad", "after")
    await send(log, BESIDE, "beside")
    await send(log, FREE, "free")
    async with member(log) as one:
        await one.until(lambda: len(one.effects.applied) == 3)
        await append(log, [record(MESSAGES_UPDATED, STUCK, "later")])
        await send(log, BESIDE, "last")
        await one.until(lambda: "last" in one.effects.applied)
        assert sorted(one.effects.applied) == sorted(["before", "beside", "free", "last"])
        assert await parked(log) == ["!bad", "after", "later"]
        readiness = one.health.readiness()
        assert readiness.ready
        assert readiness.status == "degraded"


async def test_a_letter_tells_where_its_record_lies_and_why(log: EventLog) -> None:
    """Its key is group, topic, partition and offset; its partition that of the ordering key."""
    await append(log, [record(MESSAGES_CREATED, STUCK, "!나쁜 것", (("event_type", b"x"),))])
    async with member(log) as one:
        await one.until(lambda: one.loop.parked == 1)
    (letter,) = await letters(log)
    topic = log.full_name(MESSAGES_CREATED.name)
    assert letter.pop("timestamp") > 1_700_000_000_000
    assert letter == {
        "place": f"{GROUP}/{topic}/0/0",
        "lies_in": 0,
        "group": GROUP,
        "topic": topic,
        "partition": 0,
        "offset": 0,
        "ordering_key": STUCK,
        "alone": False,
        "error": "cannot be read: !나쁜 것",
        "key": STUCK,
        "value": "!나쁜 것",
        "encoding": "utf-8",
        "headers": [["event_type", base64.b64encode(b"x").decode()]],
    }


async def test_what_the_handler_refuses_stops_its_key(log: EventLog) -> None:
    """What the batch holds of the same key is parked behind it, though it may have been applied."""
    effects = Effects()
    effects.refuse("no")
    await send(log, STUCK, "1", "no", "2", "!bad", "3")
    await send(log, BESIDE, "beside")
    async with member(log, effects) as one:
        await one.until(lambda: "beside" in effects.applied)
        assert await parked(log) == ["no", "2", "!bad", "3"]


async def test_a_key_stays_stopped_through_restarts(log: EventLog) -> None:
    """A later member reads the dead letters before it applies anything."""
    await send(log, STUCK, "!bad")
    async with member(log) as one:
        await one.until(lambda: one.loop.parked == 1)
    await send(log, STUCK, "after")
    await send(log, BESIDE, "beside")
    async with member(log) as two:
        await two.until_applied("beside")
        assert await parked(log) == ["!bad", "after"]


async def test_a_key_stays_stopped_through_rebalances(site: LogSite, log: EventLog) -> None:
    """Whoever is given the partition, from one that joined or from one that left, knows its keys."""
    await send(log, STUCK, "!bad")
    async with member(site.open()) as two:
        async with member(log) as one:
            await one.until(lambda: one.loop.parked + two.loop.parked == 1)
            while not two.loop._held:
                await one.step()
                await two.step()
            await send(log, STUCK, "while both are there")
            while len(await parked(log)) < 2:
                await one.step()
                await two.step()
        await send(log, STUCK, "after one left")
        await send(log, BESIDE, "beside")
        await two.until(lambda: "beside" in two.effects.applied)
        await two.until(lambda: two.loop.parked == 3)
        assert one.effects.applied + two.effects.applied == ["beside"]
    assert await parked(log) == ["!bad", "while both are there", "after one left"]


async def test_a_crash_between_parking_and_commit_parks_nothing_twice(log: EventLog) -> None:
    """A record that is read again is known by its letter, by the same member and by the next."""
    await send(log, STUCK, "!bad", "after")
    with uncommitted():
        async with member(log) as one:
            await one.until(lambda: one.loop.parked == 2)
            await read_again(one)
        async with member(log) as two:
            await two.until(lambda: two.loop.parked == 2)
            await read_again(two)
    assert [record.value is None for record in await read_all(log, DEAD_LETTERS)] == [False, False]


async def test_what_was_dropped_stays_dropped_when_it_is_read_again(log: EventLog) -> None:
    """Given commits that were lost, a record whose letter is dealt with is not parked again."""
    await send(log, STUCK, "!bad")
    with uncommitted():
        async with member(log) as one:
            await one.until(lambda: one.loop.parked == 1)
            await ask(log, "drop", STUCK)
            await one.until(lambda: one.loop.parked == 0)
            for _ in range(3):
                await read_again(one)
        async with member(log) as two:
            for _ in range(3):
                await read_again(two)
    assert await parked(log) == []


@contextmanager
def uncommitted() -> Iterator[None]:
    """Have every commit lost, as in a rebalance."""

    async def lost(*_: object) -> dict[TopicPartition, int]:
        return {}

    with pytest.MonkeyPatch.context() as patched:
        for adapter in (EmbeddedConsumer, KafkaConsumer):
            patched.setattr(adapter, "commit", lost)
        yield


async def read_again(one: Member) -> None:
    """Have a member read everything again, and apply it."""
    await one.until(lambda: bool(one.loop._held))
    consumer = one.loop._consumer
    assert consumer is not None
    batches = len(one.effects.batches)
    await send(one.log, BESIDE, "news")
    await one.until(lambda: len(one.effects.batches) > batches)
    await consumer.rewind(dict.fromkeys(consumer.assignment.places, 0))
    await one.until(lambda: len(one.effects.batches) > batches + 1)


async def test_another_groups_transaction_hides_no_letter(log: EventLog) -> None:
    """Given one that is not decided yet, a new owner waits for it before it applies anything."""
    if not isinstance(log, KafkaEventLog):
        return  # the file has no transactions that others meet half way
    servers = log._cluster.servers
    other = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=log.full_name("other"))
    await other.start()
    try:
        async with member(log) as one:
            await one.until(lambda: bool(one.loop._held))
            await other.begin_transaction()
            topic = log.full_name(DEAD_LETTERS.name)
            await other.send_and_wait(topic, b"{}", key=b"other/t/0/0", partition=0)
            await send(log, STUCK, "!bad")
            await one.until(lambda: one.loop.parked == 1)
        await send(log, STUCK, "after")
        async with member(log) as two:
            stepping = asyncio.create_task(two.until(lambda: two.loop.parked == 2))
            await until(lambda: has_partitions(two), within_s=25)
            with pytest.raises(TimeoutError):
                await until(lambda: owns(two), within_s=2)
            await other.abort_transaction()
            await stepping
            assert two.effects.applied == []
    finally:
        await other.stop()
    assert await parked(log) == ["!bad", "after"]


async def has_partitions(two: Member) -> bool:
    return two.loop._consumer is not None and bool(two.loop._consumer.assignment.places)


async def owns(two: Member) -> bool:
    """Say whether the member has taken its partitions over, and so may apply what they hold."""
    return bool(two.loop._held)


async def test_a_key_that_is_none_is_parked_alone(log: EventLog) -> None:
    """What is longer than an id, or no text, stops nothing, and the letter keeps none of it."""
    payload = b'{"payload":{"channel_id":"' + b"c" * 500_000 + b'"}}'
    binary = (("channel_id", b"\xff" * 300_000),)
    effects = Effects()
    effects.refuse(payload.decode())
    await append(
        log,
        [
            NewRecord(MESSAGES_CREATED.name, STUCK, STUCK, payload),
            NewRecord(MESSAGES_CREATED.name, "", STUCK, b"!", binary),
            record(MESSAGES_CREATED, STUCK, "stuck"),
        ],
    )
    async with member(log, effects) as one:
        await one.until(lambda: one.loop.parked == 2 and "stuck" in effects.applied)
        assert one.health.readiness().status == "degraded"
    found = await letters(log)
    assert [letter["alone"] for letter in found] == [True, True]
    assert {len(letter["ordering_key"]) for letter in found} < set(range(100))


async def test_what_has_no_known_key_is_parked_alone(log: EventLog) -> None:
    """It stops nothing: neither records without a key, nor those that lie where their key does not belong."""
    await append(
        log,
        [
            NewRecord(MESSAGES_CREATED.name, "", STUCK, b"!unknown"),
            NewRecord(MESSAGES_CREATED.name, FREE, STUCK, b"!astray"),
            record(MESSAGES_CREATED, STUCK, "stuck"),
            record(MESSAGES_CREATED, FREE, "free"),
        ],
    )
    async with member(log) as one:
        await one.until(lambda: len(one.effects.applied) == 2)
        found = {letter["value"]: letter for letter in await letters(log)}
        assert found["!unknown"]["alone"]
        assert found["!astray"]["alone"]
        assert found["!unknown"]["ordering_key"] == f"{log.full_name(MESSAGES_CREATED.name)}/0/0"
        assert found["!astray"]["ordering_key"] == FREE


async def test_the_key_is_found_in_the_payload(log: EventLog) -> None:
    """What a record is keyed by counts only where its payload does not name its channel."""
    text = f'{{"payload": {{"channel_id": "{STUCK}"}}, "event_type": "new"}}'
    effects = Effects()
    effects.refuse(text)
    await append(log, [NewRecord(MESSAGES_CREATED.name, "other", STUCK, text.encode())])
    async with member(log, effects) as one:
        await one.until(lambda: one.loop.parked == 1)
    (letter,) = await letters(log)
    assert (letter["ordering_key"], letter["alone"]) == (STUCK, False)


async def test_any_value_can_be_parked(log: EventLog) -> None:
    """Bytes that are no text come as base64, what is too large not at all."""
    values = (b"!\xff\xfe", b"!" + b"\x00" * (MAX_RECORD_BYTES - 100))
    await append(log, [NewRecord(MESSAGES_CREATED.name, STUCK, STUCK, value) for value in values])
    async with member(log) as one:
        await one.until(lambda: one.loop.parked == 2)
    assert [(letter["value"], letter["encoding"]) for letter in await letters(log)] == [
        (base64.b64encode(b"!\xff\xfe").decode(), "base64"),
        (None, "omitted"),
    ]


async def test_nothing_is_applied_while_what_is_parked_is_not_known(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given dead letters that cannot be read for once, a stopped key stays stopped all the same."""
    await send(log, STUCK, "!bad")
    async with member(log) as one:
        await one.until(lambda: one.loop.parked == 1)
        reader = one.loop._parking._reader
        assert reader is not None

        async def fails(*_: object) -> list[Record]:
            raise Unavailable("eventlog", "for once")

        await send(log, STUCK, "after")
        monkeypatch.setattr(reader, "read", fails)
        monkeypatch.setattr(one.loop, "_look_at_s", 0.0)
        await one.until(lambda: one.loop.parked == 2)
        assert one.effects.applied == []
    assert await parked(log) == ["!bad", "after"]


async def test_a_former_owner_parks_nothing(site: LogSite, log: EventLog) -> None:
    """Once another has taken a partition over, its former owner cannot write to the dead letters."""
    await send(log, STUCK, "!bad")
    async with member(log) as one:
        await one.until(lambda: one.loop.parked == 1)
        assert one.loop._consumer is not None
        successor = Parking(site.open(), GROUP, TOPICS)
        await successor.own(one.loop._consumer.assignment)
        assert successor.parked_records == 1
        await send(log, STUCK, "late")
        with pytest.raises(Fenced):
            await one.step_for_ever()
        await successor.close()
    assert await parked(log) == ["!bad"]
