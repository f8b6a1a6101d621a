"""Records on every event log: their order, place and content, and how readers get to the end of them."""

import asyncio

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2

from backbone.eventlog import MAX_RECORD_BYTES, EventLog, NewRecord, RecordTooLarge
from schemas.topics import MESSAGES_CREATED as CREATED
from schemas.topics import MESSAGES_STATE
from tests.support.eventlog import LogSite, read_to_end, record, texts

KOREAN = ("개발팀", "공지사항", "배포-알림", "가", "한글 채널 이름이 꽤 긴 경우", "mixed-혼합-7")


async def test_a_partition_keeps_the_order_of_its_records(log: EventLog) -> None:
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


async def test_the_ordering_key_chooses_the_partition(log: EventLog) -> None:
    """The partition is (murmur2 & 0x7fffffff) mod partitions of the ordering key, whatever the key is."""
    producer = await log.producer()
    await producer.send(
        [NewRecord(MESSAGES_STATE.name, f"msg_{n}", channel, b"") for n, channel in enumerate(KOREAN)]
    )
    found = {r.key: r.partition for r in await read_to_end(await log.reader([MESSAGES_STATE]))}
    expected = {
        f"msg_{n}": (aiokafka_murmur2(channel.encode()) & 0x7FFFFFFF) % 3 for n, channel in enumerate(KOREAN)
    }
    assert found == expected


async def test_headers_tombstones_and_empty_values_are_kept(log: EventLog) -> None:
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


async def test_concurrent_producers_lose_and_mix_nothing(site: LogSite, log: EventLog) -> None:
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


async def test_a_record_too_large_is_refused_whole(log: EventLog) -> None:
    """RecordTooLarge, and nothing of the batch is written; the largest size allowed is taken."""
    producer = await log.producer()
    too_large = record(CREATED, "k", "x" * MAX_RECORD_BYTES)
    with pytest.raises(RecordTooLarge, match=r"messages\.created"):
        await producer.send([record(CREATED, "k", "before"), too_large, record(CREATED, "k", "behind")])
    assert await read_to_end(await log.reader([CREATED])) == []
    await producer.send([record(CREATED, "k", "x" * (MAX_RECORD_BYTES - 1))])
    (taken,) = await read_to_end(await log.reader([CREATED]))
    assert len(taken.value or b"") == MAX_RECORD_BYTES - 1


async def test_nothing_to_send_is_no_error(log: EventLog) -> None:
    """An empty batch is sent at once."""
    await (await log.producer()).send([])


async def test_a_reader_gets_to_the_end(log: EventLog) -> None:
    """It reads all from the beginning; positions reach the end, of empty partitions too."""
    await (await log.producer()).send([record(CREATED, f"c{n % 5}", str(n)) for n in range(100)])
    reader = await log.reader((CREATED, MESSAGES_STATE))
    records = await read_to_end(reader, max_records=7)
    assert sorted(int(text) for text in texts(records)) == list(range(100))
    assert dict(reader.positions()) == dict(await reader.end_offsets())
    assert len(reader.positions()) == 6


async def test_a_reader_goes_on_with_what_is_new(log: EventLog) -> None:
    """Past the end it waits for new records, and can go to the end without reading."""
    producer = await log.producer()
    await producer.send([record(CREATED, "k", "old")])
    reader = await log.reader([CREATED])
    await reader.seek_to_end()
    assert dict(reader.positions()) == dict(await reader.end_offsets())
    assert await reader.read(10, 0.05) == []
    await producer.send([record(CREATED, "k", "new")])
    assert texts(await reader.read(10, 5.0)) == ["new"]
