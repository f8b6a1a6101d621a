"""What every event log does: order, groups, readers, topics and errors, on the file and on Kafka."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import MAX_RECORD_BYTES, EventLog, NewRecord, RecordTooLarge, TopicPartition
from backbone.settings import Settings
from schemas.topics import (
    CHANNELS_CHANGED,
    DAY_MS,
    MESSAGES_CREATED,
    MESSAGES_STATE,
    NOTIFICATIONS_SENT,
    murmur2,
    partition_of,
)
from tests.conftest import ADAPTERS
from tests.support.eventlog import LogSite, after, log_site, poll_until, read_to_end, record, texts

CREATED = MESSAGES_CREATED
TOPICS = (MESSAGES_CREATED, MESSAGES_STATE)

# Signed murmur2, from the tests of Kafka's Java client; of the Korean ones, as aiokafka gives it.
GOLDEN = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
    "개발팀": -725835669,
    "공지사항": 90703612,
    "배포-알림": 958128263,
    "가": -239756153,
    "한글 채널 이름이 꽤 긴 경우": 204094830,
    "mixed-혼합-7": 1812607343,
}
KOREAN = tuple(key for key in GOLDEN if not key.isascii())


@pytest.fixture(params=ADAPTERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[LogSite]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with log_site(settings) as opened:
        yield opened


@pytest.fixture
async def log(site: LogSite) -> EventLog:
    """A log with two topics of three partitions."""
    opened = site.open()
    await opened.apply_topics(TOPICS, 3)
    return opened


def keys_of_partition(partition: int, number: int) -> list[str]:
    """Return keys that all lie in one of three partitions."""
    keys = (f"채널-{n}" for n in range(1_000))
    return [key for key in keys if partition_of(key, 3) == partition][:number]


class TestRecords:
    async def test_a_partition_keeps_the_order_of_its_records(self, log: EventLog) -> None:
        """Records of one ordering key are read in the order sent, over several sends; offsets have no gap."""
        producer = await log.producer()
        for n in range(5):
            await producer.send([record(CREATED, f"c{i % 7}", f"{n * 100 + i}") for i in range(100)])
        records = await read_to_end(await log.reader([CREATED]))
        assert len(records) == 500
        for key in {r.key for r in records}:
            numbers = [int(r.value or b"") for r in records if r.key == key]
            assert numbers == sorted(numbers)
        for partition in range(3):
            offsets = [r.offset for r in records if r.partition == partition]
            assert offsets == list(range(len(offsets)))

    @pytest.mark.parametrize(("key", "expected"), GOLDEN.items())
    def test_the_hash_is_that_of_kafka(self, key: str, expected: int) -> None:
        """murmur2 is that of Java's client, and so that of kafkajs and aiokafka, for keys of any script."""
        assert murmur2(key.encode()) == expected & 0xFFFFFFFF == aiokafka_murmur2(key.encode()) & 0xFFFFFFFF

    async def test_the_ordering_key_chooses_the_partition(self, log: EventLog) -> None:
        """The partition is (murmur2 & 0x7fffffff) mod partitions of the ordering key, whatever the key is."""
        producer = await log.producer()
        await producer.send(
            [NewRecord(MESSAGES_STATE.name, f"msg_{n}", channel, b"") for n, channel in enumerate(KOREAN)]
        )
        found = {r.key: r.partition for r in await read_to_end(await log.reader([MESSAGES_STATE]))}
        expected = {
            f"msg_{n}": (aiokafka_murmur2(channel.encode()) & 0x7FFFFFFF) % 3
            for n, channel in enumerate(KOREAN)
        }
        assert found == expected

    async def test_headers_tombstones_and_empty_values_are_kept(self, log: EventLog) -> None:
        """A record is read as it was sent: headers in order, null and empty values told apart, any bytes."""
        headers = (("event_type", b"message.created"), ("traceparent", b"\x00\xff"), ("event_type", b""))
        sent = [
            NewRecord(CREATED.name, "키", "키", b"\x00\xff", headers),
            NewRecord(CREATED.name, "키", "키", None),
            NewRecord(CREATED.name, "키", "키", b""),
            NewRecord(CREATED.name, "", "키", "값".encode()),
        ]
        await (await log.producer()).send(sent)
        read = await read_to_end(await log.reader([CREATED]))
        assert [(r.topic, r.key, r.value, r.headers) for r in read] == [
            (s.topic, s.key, s.value, s.headers) for s in sent
        ]
        assert all(abs(r.timestamp_ms - read[0].timestamp_ms) < 60_000 for r in read)

    async def test_concurrent_producers_lose_and_mix_nothing(self, site: LogSite, log: EventLog) -> None:
        """Producers of two processes, sending at once, each keep their order; everything arrives once."""
        producers = [await (log if n % 2 else site.open()).producer() for n in range(4)]

        async def send(n: int) -> None:
            for i in range(10):
                await producers[n].send([record(CREATED, "same", f"{n}:{i * 10 + j}") for j in range(10)])

        await asyncio.gather(*(send(n) for n in range(4)), *(send(n) for n in range(2)))
        values = texts(await read_to_end(await log.reader([CREATED])))
        assert len(values) == 600
        for n in (2, 3):
            assert [v for v in values if v.startswith(f"{n}:")] == [f"{n}:{i}" for i in range(100)]

    async def test_a_record_too_large_is_refused_whole(self, log: EventLog) -> None:
        """RecordTooLarge, and nothing of the batch is written; the largest size allowed is taken."""
        producer = await log.producer()
        too_large = record(CREATED, "k", "x" * MAX_RECORD_BYTES)
        with pytest.raises(RecordTooLarge, match=r"messages\.created"):
            await producer.send([record(CREATED, "k", "before"), too_large, record(CREATED, "k", "behind")])
        assert await read_to_end(await log.reader([CREATED])) == []
        await producer.send([record(CREATED, "k", "x" * (MAX_RECORD_BYTES - 1))])
        (taken,) = await read_to_end(await log.reader([CREATED]))
        assert len(taken.value or b"") == MAX_RECORD_BYTES - 1

    async def test_nothing_to_send_is_no_error(self, log: EventLog) -> None:
        """An empty batch is sent at once."""
        await (await log.producer()).send([])


class TestGroups:
    async def test_a_group_goes_on_where_it_committed(self, site: LogSite, log: EventLog) -> None:
        """A new member, in a new process, begins behind the last commit: the rest comes again."""
        await (await log.producer()).send([record(CREATED, "k", str(n)) for n in range(10)])
        first = site.open()
        member = await first.consumer("g", [CREATED])
        batch = await poll_until(member, 4, max_records=4)
        assert texts(batch) == ["0", "1", "2", "3"]
        await member.commit(after(batch))
        assert texts(await poll_until(member, 3, max_records=3)) == ["4", "5", "6"]
        await first.close()
        again = await site.open().consumer("g", [CREATED])
        assert texts(await poll_until(again, 6)) == [str(n) for n in range(4, 10)]

    async def test_each_group_gets_everything(self, log: EventLog) -> None:
        """Groups do not share offsets; each reads every topic it takes."""
        producer = await log.producer()
        await producer.send([record(CREATED, "a", "1"), record(MESSAGES_STATE, "b", "2")])
        for group in ("g1", "g2"):
            member = await log.consumer(group, TOPICS)
            assert sorted(texts(await poll_until(member, 2))) == ["1", "2"]

    async def test_members_share_partitions_and_take_them_over(self, site: LogSite, log: EventLog) -> None:
        """Two members read disjoint partitions; when one leaves, the other gets all."""
        producer = await log.producer()
        members = [await log.consumer("g", [CREATED]), await site.open().consumer("g", [CREATED])]
        held: list[set[int]] = [set(), set()]
        rounds = 0
        while not (held[0] and held[1] and held[0] | held[1] == {0, 1, 2} and not held[0] & held[1]):
            rounds += 1
            await producer.send([record(CREATED, keys_of_partition(p, 1)[0], f"{rounds}") for p in range(3)])
            for n, batch in enumerate(await asyncio.gather(*(m.poll(100, 0.2) for m in members))):
                held[n] = {r.partition for r in batch}
                await members[n].commit(after(batch))
        await members[0].close()
        seen: set[int] = set()
        while seen != {0, 1, 2}:
            await producer.send([record(CREATED, keys_of_partition(p, 1)[0], "later") for p in range(3)])
            batch = await members[1].poll(100, 0.2)
            await members[1].commit(after(batch))
            seen = {r.partition for r in batch}

    async def test_a_lost_partition_cannot_be_committed(self, site: LogSite, log: EventLog) -> None:
        """The commit of a batch whose partitions went to another member is dropped, without an error."""
        await (await log.producer()).send(
            [record(CREATED, keys_of_partition(p, 1)[0], str(p)) for p in range(3)]
        )
        slow = await log.consumer("g", [CREATED])
        batch = await poll_until(slow, 3)
        other = await site.open().consumer("g", [CREATED])
        taken: set[TopicPartition] = set()
        while not taken:
            await slow.poll(100, 0.1)
            taken = {r.topic_partition for r in await other.poll(100, 0.2)}
        await slow.commit(after(batch))
        committed = await log.committed("g", [CREATED])
        assert {committed[place] for place in taken} == {0}

    async def test_rewind_reads_again(self, log: EventLog) -> None:
        """After a rewind the same records come again; other partitions go on from where they are."""
        here, there = keys_of_partition(0, 1)[0], keys_of_partition(1, 1)[0]
        await (await log.producer()).send([record(CREATED, key, key) for key in (here, there, here)])
        member = await log.consumer("g", [CREATED])
        assert sorted(texts(await poll_until(member, 3))) == sorted([here, there, here])
        await member.rewind({TopicPartition(CREATED.name, 0): 1})
        assert [(r.offset, r.key) for r in await poll_until(member, 1)] == [(1, here)]

    async def test_lag_counts_what_is_not_read(self, log: EventLog) -> None:
        """Lag is the distance from the position to the end, for each partition held."""
        await (await log.producer()).send([record(CREATED, "k", str(n)) for n in range(10)])
        member = await log.consumer("g", [CREATED])
        await poll_until(member, 3, max_records=3)
        lag = await member.lag()
        assert len(lag) == 3
        assert sum(lag.values()) == 7

    async def test_committed_is_zero_before_any_commit(self, log: EventLog) -> None:
        """`committed` names every partition of the topics, also for a group that never was."""
        committed = await log.committed("nobody", TOPICS)
        assert dict(committed) == {TopicPartition(t.name, p): 0 for t in TOPICS for p in range(3)}
        await (await log.producer()).send([record(CREATED, "k")])
        member = await log.consumer("g", [CREATED])
        batch = await poll_until(member, 1)
        await member.commit(after(batch))
        committed = await log.committed("g", TOPICS)
        assert sum(committed.values()) == committed[batch[0].topic_partition] == 1

    async def test_a_cancelled_poll_loses_nothing(self, log: EventLog) -> None:
        """Records that a cancelled poll would have returned come with the next one."""
        member = await log.consumer("g", [CREATED])
        producer = await log.producer()
        for n in range(5):
            waiting = asyncio.create_task(member.poll(10, 5.0))
            await asyncio.gather(producer.send([record(CREATED, "k", str(n))]), asyncio.sleep(0))
            waiting.cancel()
            (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
            batch = await poll_until(member, 1) if isinstance(outcome, BaseException) else outcome
            assert texts(batch) == [str(n)]


class TestReaders:
    async def test_a_reader_gets_to_the_end(self, log: EventLog) -> None:
        """It reads all from the beginning; positions reach the end, of empty partitions too."""
        await (await log.producer()).send([record(CREATED, f"c{n % 5}", str(n)) for n in range(100)])
        reader = await log.reader(TOPICS)
        records = await read_to_end(reader, max_records=7)
        assert sorted(int(text) for text in texts(records)) == list(range(100))
        assert dict(reader.positions()) == dict(await reader.end_offsets())
        assert len(reader.positions()) == 6

    async def test_a_reader_goes_on_with_what_is_new(self, log: EventLog) -> None:
        """Past the end it waits for new records, and can go to the end without reading."""
        producer = await log.producer()
        await producer.send([record(CREATED, "k", "old")])
        reader = await log.reader([CREATED])
        await reader.seek_to_end()
        assert dict(reader.positions()) == dict(await reader.end_offsets())
        assert await reader.read(10, 0.05) == []
        await producer.send([record(CREATED, "k", "new")])
        assert texts(await reader.read(10, 5.0)) == ["new"]


class TestTopics:
    async def test_topics_are_made_once(self, log: EventLog) -> None:
        """apply_topics says what it made, then nothing; it names what differs, and changes none of it."""
        assert await log.apply_topics(TOPICS, 3) == []
        lines = await log.apply_topics([*TOPICS, NOTIFICATIONS_SENT], 4)
        assert [line.split(":")[0] for line in lines] == [
            "notifications.sent",
            "messages.created",
            "messages.state",
        ]
        assert "made with 4 partitions" in lines[0]
        assert "has 3 partitions, wanted 4" in lines[1]
        assert (await log.topics())["messages.created"].partitions == 3

    async def test_topics_tell_how_they_are_kept(self, log: EventLog) -> None:
        """A topic's state has its clean-up, retention and offsets; names are without the prefix."""
        await log.apply_topics([NOTIFICATIONS_SENT], 1)
        await (await log.producer()).send([record(NOTIFICATIONS_SENT, "u", str(n)) for n in range(3)])
        states = await log.topics()
        assert {name: (s.cleanup, s.retention_ms) for name, s in states.items()} == {
            "messages.created": ("keep", None),
            "messages.state": ("compact", None),
            "notifications.sent": ("expire", 30 * DAY_MS),
        }
        assert (states["notifications.sent"].earliest, states["notifications.sent"].end) == ((0,), (3,))

    async def test_a_missing_topic_says_what_to_do(self, log: EventLog) -> None:
        """Consumers and readers cannot start without it; a producer tries again later."""
        with pytest.raises(SetupError, match=r"channels\.changed: run `maeari topics apply`"):
            await log.consumer("g", [CHANNELS_CHANGED])
        with pytest.raises(SetupError, match=r"channels\.changed"):
            await log.reader([CREATED, CHANNELS_CHANGED])
        with pytest.raises(Unavailable, match="run `maeari topics apply`"):
            await (await log.producer()).send([record(CHANNELS_CHANGED, "k")])

    async def test_compaction_leaves_the_last_of_each_key_readable(
        self, site: LogSite, log: EventLog
    ) -> None:
        """The last record of each key stays; on the file `compact` removes the others, and offsets stay."""
        producer = await log.producer()
        await producer.send([record(MESSAGES_STATE, f"k{n % 10}", str(n)) for n in range(100)])
        await producer.send([record(MESSAGES_STATE, "k0", None)])
        await log.compact(MESSAGES_STATE)
        reader = await log.reader([MESSAGES_STATE])
        records = await read_to_end(reader, max_records=3)
        assert len(records) == (10 if site.embedded else 101)
        last = {r.key: r.value for r in records}
        assert last == {"k0": None} | {f"k{n}": f"{90 + n}".encode() for n in range(1, 10)}
        assert sum(reader.positions().values()) == 101
        member = await log.consumer("g", [MESSAGES_STATE])
        assert len(await poll_until(member, len(records))) == len(records)
        await producer.send([record(MESSAGES_STATE, "k0", "back")])
        assert texts(await poll_until(member, 1)) == ["back"]
