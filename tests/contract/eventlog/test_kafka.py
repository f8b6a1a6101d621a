"""What only the event log on Kafka meets: transactions, brokers that are not there, limits of the broker."""

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import LeaderNotAvailableError
from structlog.testing import capture_logs

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import EventLog, Fenced, RecordTooLarge
from backbone.eventlog.kafka import KafkaEventLog, watch
from backbone.eventlog.kafka import consumer as kafka_consumer
from backbone.eventlog.kafka.consumer import KafkaConsumer
from backbone.eventlog.kafka.fenced import FencedProducer
from backbone.eventlog.kafka.reader import KafkaReader
from backbone.settings import KafkaSecurity, Settings
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE
from tests.support.eventlog import LogSite, configure, log_site, poll_until, read_to_end, record, texts

CREATED = MESSAGES_CREATED

QUESTIONS: dict[str, Callable[[EventLog], Awaitable[object]]] = {
    "producer": lambda log: log.producer(),
    "fenced producer": lambda log: log.producer("f"),
    "consumer": lambda log: log.consumer("g", [CREATED]),
    "reader": lambda log: log.reader([CREATED]),
    "topics": lambda log: log.topics(),
    "committed": lambda log: log.committed("g", [CREATED]),
    "apply_topics": lambda log: log.apply_topics([CREATED], 3),
}


@pytest.fixture
async def site(real_settings: Settings) -> AsyncIterator[LogSite]:
    async with log_site(real_settings) as opened:
        yield opened


def servers(site: LogSite) -> str:
    return site.settings.eventlog_url.removeprefix("kafka://")


async def test_a_driver_that_stands_still_is_made_anew(
    site: LogSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a driver whose task that fetches has ended, which nothing tells, records come all the same."""
    monkeypatch.setattr(kafka_consumer, "CHECK_INTERVAL_S", 0.1)
    monkeypatch.setattr(watch, "STANDSTILL_POLLS", 2)
    log = site.open()
    await log.apply_topics([CREATED], 1)
    member = await log.consumer(site.settings.topic_prefix, [CREATED])
    assert isinstance(member, KafkaConsumer)
    producer = await log.producer()
    await producer.send([record(CREATED, "k", "before")])
    assert texts(await poll_until(member, 1)) == ["before"]
    assert member._driver is not None
    member._driver._fetcher._fetch_task.cancel()
    await producer.send([record(CREATED, "k", "after")])
    with capture_logs() as logs:
        found = texts(await poll_until(member, 1))
    assert found[-1] == "after"
    assert any(entry["event"] == "kafka_consumer_stands_still" for entry in logs)


async def test_readers_see_committed_transactions_only(site: LogSite) -> None:
    """Aborted records are never read, open ones not yet; the markers do not keep positions from the end."""
    log = site.open()
    await log.apply_topics([CREATED], 1)
    topic = f"{site.settings.topic_prefix}.{CREATED.name}"
    writer = AIOKafkaProducer(bootstrap_servers=servers(site), transactional_id=f"{topic}-writer")
    await writer.start()
    try:
        for outcome in ("committed", "aborted"):
            await writer.begin_transaction()
            await writer.send_and_wait(topic, outcome.encode(), key=b"k")
            await (writer.commit_transaction if outcome == "committed" else writer.abort_transaction)()
        reader = await log.reader([CREATED])
        assert texts(await read_to_end(reader)) == ["committed"]
        assert list(reader.positions().values()) == [4]
        await writer.begin_transaction()
        await writer.send_and_wait(topic, b"open", key=b"k")
        assert list((await reader.end_offsets()).values()) == [4]
        member = await log.consumer("g", [CREATED])
        assert texts(await poll_until(member, 1)) == ["committed"]
        await writer.commit_transaction()
        assert texts(await poll_until(member, 1)) == ["open"]
    finally:
        await writer.stop()


async def test_a_read_that_fails_takes_its_records_again(
    site: LogSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the positions cannot be told after a fetch, what it had taken comes with the next read."""
    log = site.open()
    await log.apply_topics([CREATED], 3)
    await (await log.producer()).send([record(CREATED, f"c{n}", str(n)) for n in range(30)])
    reader = await log.reader([CREATED])
    assert isinstance(reader, KafkaReader)
    fetch, fetched = reader._driver.getmany, []

    async def fetching(**options: object) -> object:
        fetched.append(await fetch(**options))
        return fetched[-1]

    async def unknown(_place: object) -> int:
        raise LeaderNotAvailableError

    with monkeypatch.context() as patch:
        patch.setattr(reader._driver, "getmany", fetching)
        patch.setattr(reader._driver, "position", unknown)
        while not any(fetched):
            with pytest.raises(Unavailable):
                await reader.read(500, 1.0)
    assert set(reader.positions().values()) == {0}
    assert sorted(map(int, texts(await read_to_end(reader)))) == list(range(30))


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_wrong_address_is_one_line_soon(question: str, caplog: pytest.LogCaptureFixture) -> None:
    """Unavailable within seconds, in one line with the address; nothing of the client is left open."""
    log = KafkaEventLog("127.0.0.1:1", "platform", "none", KafkaSecurity())
    async with asyncio.timeout(8):
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1") as caught:
            await QUESTIONS[question](log)
    assert "\n" not in str(caught.value)
    await log.close()
    gc.collect()
    assert not [entry.getMessage() for entry in caplog.records if entry.name == "asyncio"]


@pytest.mark.parametrize("fence", [None, "f"])
async def test_a_silent_address_is_given_up_soon(fence: str | None) -> None:
    """A server that takes the connection and never answers is Unavailable within seconds."""
    connected: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    log = KafkaEventLog(f"127.0.0.1:{port}", "platform", "none", KafkaSecurity())
    try:
        async with asyncio.timeout(12):
            with pytest.raises(Unavailable, match="no answer"):
                await log.producer(fence)
    finally:
        await log.close()
        for writer in connected:
            writer.close()
        server.close()


async def test_a_ca_file_without_certificates_names_the_setting(site: LogSite) -> None:
    """A CA file that cannot be read as one is a SetupError that names it."""
    file = site.settings.data
    file.write_text("no certificate")
    log = KafkaEventLog("127.0.0.1:1", "platform", "none", KafkaSecurity(protocol="SSL", ca_file=file))
    with pytest.raises(SetupError, match="MAEARI_KAFKA_CA_FILE"):
        await log.producer()


async def test_a_smaller_limit_of_the_broker_is_record_too_large(site: LogSite) -> None:
    """A batch that the brokers refuse for its size is RecordTooLarge; the producer works on after that."""
    log = site.open()
    await log.apply_topics([CREATED], 1)
    await configure(site.settings, CREATED, {"max.message.bytes": "2000"})
    producer = await log.producer()
    with pytest.raises(RecordTooLarge):
        await producer.send([record(CREATED, "k", "x" * 3_000)])
    await producer.send([record(CREATED, "k", "small")])
    assert texts(await read_to_end(await log.reader([CREATED]))) == ["small"]


async def test_behind_a_fence_a_smaller_limit_keeps_the_whole_send_out(site: LogSite) -> None:
    """What the brokers refuse for its size takes the rest of its send with it, not the producer."""
    log = site.open()
    await log.apply_topics([CREATED, MESSAGES_STATE], 3)
    await configure(site.settings, CREATED, {"max.message.bytes": "2000"})
    producer = await log.producer("f")
    for round_ in range(3):
        small = [record(topic, f"{n}", f"{round_}") for topic in (CREATED, MESSAGES_STATE) for n in range(9)]
        with pytest.raises(RecordTooLarge):
            await producer.send([*small, record(CREATED, "k", "x" * 3_000)])
        await producer.send(small)
    read = texts(await read_to_end(await log.reader([CREATED, MESSAGES_STATE])))
    assert sorted(read) == sorted(f"{n}" for n in range(3) for _ in range(18))


async def test_an_abandoned_transaction_does_not_hold_readers_up(site: LogSite) -> None:
    """Records of a producer that froze in its send are aborted when its successor takes the fence."""
    log = site.open()
    await log.apply_topics([CREATED], 1)
    frozen = await log.producer("f")
    assert isinstance(frozen, FencedProducer)
    place = KafkaPartition(f"{site.settings.topic_prefix}.{CREATED.name}", 0)
    await frozen._partitions(CREATED.name)
    await frozen._client.add_partitions([place])
    await frozen._append({place: frozen._packed(place, deque([record(CREATED, "k", "unfinished")]))})
    successor = await log.producer("f")
    await successor.send([record(CREATED, "k", "seen")])
    with pytest.raises(Fenced):
        await frozen._client.end(commit=True)
    assert texts(await read_to_end(await log.reader([CREATED]))) == ["seen"]


@pytest.mark.parametrize("fence", [None, "f"])
@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd"])
async def test_compressed_batches_are_read(site: LogSite, compression: str, fence: str | None) -> None:
    """Each compression that can be set writes what every reader reads."""
    log = KafkaEventLog(servers(site), site.settings.topic_prefix, compression, KafkaSecurity())
    await log.apply_topics([MESSAGES_STATE], 1)
    await (await log.producer(fence)).send([record(MESSAGES_STATE, "k", "가나다" * 1_000)] * 3)
    assert texts(await read_to_end(await site.open().reader([MESSAGES_STATE]))) == ["가나다" * 1_000] * 3
    await log.close()
