"""A member on Kafka of which one partition is silent, or does not answer, while the others give records."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import TopicPartition as KafkaPartition
from structlog.testing import capture_logs

from backbone.errors import Unavailable
from backbone.eventlog import EventLog
from backbone.eventlog.kafka import consumer as kafka_consumer
from backbone.eventlog.kafka import watch
from backbone.eventlog.kafka.consumer import KafkaConsumer
from backbone.settings import Settings
from schemas.topics import MESSAGES_CREATED
from tests.contract.eventlog.test_parking import FREE, STUCK
from tests.support.eventlog import append, log_site, poll_until, record, texts
from tests.support.waiting import until

CREATED = MESSAGES_CREATED


@pytest.fixture
async def log(real_settings: Settings) -> AsyncIterator[EventLog]:
    async with log_site(real_settings) as site:
        opened = site.open()
        await opened.apply_topics([CREATED], 3)
        yield opened


async def member_with_its_partitions(log: EventLog) -> tuple[KafkaConsumer, Any]:
    """Return a member that has read something, and its driver."""
    await append(log, [record(CREATED, FREE, "before")])
    member = await log.consumer(log.full_name("g"), [CREATED])
    assert isinstance(member, KafkaConsumer)
    assert texts(await poll_until(member, 1)) == ["before"]
    return member, member._driver


async def poll_for_ever(member: KafkaConsumer) -> None:
    """Poll until one of the polls fails."""
    while True:
        await member.poll(500, 0.05)


async def test_one_silent_partition_is_noticed_beside_others(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a partition that the driver does not fetch any more, its records come all the same."""
    monkeypatch.setattr(kafka_consumer, "CHECK_INTERVAL_S", 0.05)
    monkeypatch.setattr(watch, "STANDSTILL_POLLS", 10)
    member, driver = await member_with_its_partitions(log)
    silent = KafkaPartition(log.full_name(CREATED.name), 0)
    leader_of = driver._fetcher._select_read_replica
    monkeypatch.setattr(
        driver._fetcher, "_select_read_replica", lambda place: -1 if place == silent else leader_of(place)
    )
    await append(log, [record(CREATED, STUCK, "of the silent one")])
    found: list[str] = []
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            while "of the silent one" not in found:
                await append(log, [record(CREATED, FREE, "of another")])
                found += texts(await member.poll(500, 1.0))
    assert any(entry["event"] == "kafka_consumer_stands_still" for entry in logs)
    assert "of another" in found


async def test_what_lies_there_comes_though_the_ends_are_not_known(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given ends that nobody answers for, records come at once; only silence is Unavailable meanwhile."""
    monkeypatch.setattr(kafka_consumer, "CHECK_INTERVAL_S", 0.0)
    monkeypatch.setattr(kafka_consumer, "ANSWER_TIMEOUT_S", 0.3)
    member, driver = await member_with_its_partitions(log)

    async def never(_places: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(driver, "end_offsets", never)
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable, match="no answer to progress"):
                await poll_for_ever(member)
        for number in range(3):
            await append(log, [record(CREATED, FREE, str(number))])
            async with asyncio.timeout(2):
                assert texts(await member.poll(500, 1.0)) == [str(number)]
            with pytest.raises(Unavailable):
                await member.poll(500, 0.05)
    await until(lambda: is_quiet(member))
    assert member._driver is driver


async def is_quiet(member: KafkaConsumer) -> bool:
    """Say whether two polls in a row bring nothing, and no error."""
    with suppress(Unavailable):
        return [await member.poll(500, 0.2), await member.poll(500, 0.2)] == [[], []]
    return False
