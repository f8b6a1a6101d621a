"""What the consuming loop tells and does while something fails, on the file and on Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, NewRecord, Progress, Record, TopicPartition, applying, consumer
from backbone.eventlog.applying import Refusal
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.kafka import KafkaEventLog
from schemas.topics import DEAD_LETTERS, MESSAGES_CREATED
from tests.contract.eventlog.test_parking import FREE, KEYS, STUCK, send
from tests.support.consuming import Effects, Texts
from tests.support.eventlog import append, record
from tests.support.parking import GROUP, TOPICS, Member, member
from tests.support.waiting import until

CREATED = MESSAGES_CREATED


@pytest.fixture
async def log(log: EventLog) -> EventLog:
    await log.apply_topics((*TOPICS, DEAD_LETTERS), 3)
    return log


@asynccontextmanager
async def running(log: EventLog, effects: Effects) -> AsyncIterator[Member]:
    """Give a member whose loop runs during the block, once it has its partitions."""
    async with member(log, effects) as one:
        stop = asyncio.Event()
        run = asyncio.create_task(one.loop.run(stop))
        try:
            await comes(lambda: bool(one.loop._held))
            yield one
        finally:
            stop.set()
            await run


async def comes(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""

    async def holds() -> bool:
        return condition()

    await until(holds, within_s=20)


def gauge(name: str, topic: str, partition: int) -> float | None:
    return REGISTRY.get_sample_value(name, {"group": GROUP, "topic": topic, "partition": str(partition)})


async def test_the_gauges_go_on_after_a_defect(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an error that nobody thought of, it is logged, and the progress is shown again."""
    monkeypatch.setattr(consumer, "TELL_EVERY_S", 0.02)
    failed = asyncio.Event()

    async def fails() -> Mapping[TopicPartition, Progress]:
        failed.set()
        raise KeyError("a partition")

    with capture_logs() as logs:
        async with running(log, Effects()) as one:
            with monkeypatch.context() as patch:
                patch.setattr(one.loop._consumer, "progress", fails)
                await failed.wait()
            await send(log, FREE, "1", "2")
            await comes(lambda: gauge("maeari_consumer_position", CREATED.name, 1) == 2)
    (told,) = [entry for entry in logs if entry["event"] == "background_work_failed"]
    assert told["work"] == f"progress of {GROUP}"


async def test_the_log_is_up_while_something_else_is_not(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a partition that fails for long, a log that hesitated once is not said to be down as long."""
    effects = Effects()
    effects.fail_with("bad")
    hesitated = asyncio.Event()

    async def hesitates(*_: object) -> list[Record]:
        hesitated.set()
        raise Unavailable("eventlog", "it hesitates")

    async with running(log, effects) as one:
        await send(log, STUCK, "bad")
        await comes(lambda: "search" in one.health.readiness().dependencies)
        with monkeypatch.context() as patch:
            patch.setattr(one.loop._consumer, "poll", hesitates)
            await hesitated.wait()
            await comes(lambda: one.health.readiness().dependencies["eventlog"] == "it hesitates")
        await comes(lambda: one.health.readiness().dependencies["eventlog"] == "ok")
        assert one.health.readiness().dependencies["search"] == "a part of it is down"
        effects.then = None
        await comes(lambda: one.health.readiness().status == "ok")
        assert effects.applied == ["bad"]


async def test_what_failed_and_expired_is_no_trouble_any_more(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a partition that failed, whose records are gone when they are tried again, all is well."""
    monkeypatch.setattr(consumer, "TELL_EVERY_S", 0.1)
    effects = Effects()
    effects.fail_with("bad")
    async with running(log, effects) as one:
        await send(log, STUCK, "bad")
        await comes(lambda: len(effects.batches) > 1)
        await expire_all(log)
        await comes(lambda: one.health.readiness().status == "ok")
        assert effects.applied == []
        assert not one.loop._patience.troubled


async def expire_all(log: EventLog) -> None:
    """Delete what partition 0 of the created messages holds."""
    if isinstance(log, KafkaEventLog):
        admin = AIOKafkaAdminClient(bootstrap_servers=log._cluster.servers)
        await admin.start()
        try:
            place = KafkaPartition(log.full_name(CREATED.name), 0)
            await admin.delete_records({place: RecordsToDelete(before_offset=1)})
        finally:
            await admin.close()
    elif isinstance(log, EmbeddedEventLog):
        await log._storage.write(lambda connection: connection.execute("DELETE FROM records").close())


async def test_one_attempt_finds_out_for_all(log: EventLog) -> None:
    """Of partitions that wait for one dependency a step tries one, and each has its turn."""
    effects = Effects()
    effects.fail(Unavailable("search", "down"))
    for key in KEYS.values():
        await append(log, [record(topic, key, f"{topic.name} {key}") for topic in TOPICS])
    async with member(log, effects) as one:
        await one.until(lambda: len(one.loop._patience.troubled) == 6)
        before, tried = len(effects.batches), set[str]()
        while len(tried) < 6:
            await one.step()
            assert len(effects.batches) <= before + 1
            tried.update(*effects.batches[before:])
            before = len(effects.batches)
        effects.then = None
        await one.until(lambda: len(effects.applied) == 6)


async def test_a_batch_that_takes_too_long_is_made_smaller(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a handler that two records are enough for, a partition gets on by two, others beside it."""
    monkeypatch.setattr(applying, "APPLIED_WITHIN_S", 0.3)
    effects = Effects()

    async def then(batch: Texts) -> Sequence[Refusal]:
        if len(batch) > 2:
            await asyncio.Event().wait()
        return []

    effects.then = then
    texts = [str(number) for number in range(10)]
    await send(log, STUCK, *texts)
    async with member(log, effects) as one:
        await one.until(lambda: len(effects.batches) >= 2)
        await send(log, FREE, "free")
        await one.until(lambda: len(effects.applied) == 11)
        assert [text for text in effects.applied if text != "free"] == texts
        assert [len(batch) for batch in effects.batches if batch != ["free"]][:3] == [10, 5, 2]
        assert effects.applied.index("free") < 10
        committed = await log.committed(GROUP, [MESSAGES_CREATED])
        assert sum(committed.values()) == 11


async def test_a_tombstone_is_counted_once(log: EventLog) -> None:
    """However often its batch is tried."""
    labels = {"group": GROUP, "topic": CREATED.name}
    before = REGISTRY.get_sample_value("maeari_consumer_tombstones_total", labels) or 0
    await append(log, [NewRecord(CREATED.name, STUCK, STUCK, None), record(CREATED, STUCK, "x")])
    effects = Effects()
    effects.fail(Unavailable("search", "down"))
    async with member(log, effects) as one:
        await one.until(lambda: len(effects.batches) >= 3)
        effects.then = None
        await one.until_applied("x")
    assert REGISTRY.get_sample_value("maeari_consumer_tombstones_total", labels) == before + 1
