"""Event logs of a test's own: several over one store, closed at the end, their topics dropped on Kafka."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from backbone.eventlog import Consumer, EventLog, Headers, NewRecord, Reader, Record, TopicPartition
from backbone.settings import Settings
from backbone.wiring import open_eventlog
from schemas.topics import Topic
from tests.support.waiting import until


class LogSite:
    """One store; each `open` is a log of its own on it, as another process would have."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._logs: list[EventLog] = []

    @property
    def embedded(self) -> bool:
        return self.settings.eventlog_url.startswith("embedded:")

    def open(self) -> EventLog:
        """Return another log on the store, closed at the end of the test."""
        log = open_eventlog(self.settings)
        self._logs.append(log)
        return log

    def open_neighbour(self) -> EventLog:
        """Return a log under another prefix on the same server or file; its topics are the test's to drop."""
        log = open_eventlog(replace(self.settings, topic_prefix=f"{self.settings.topic_prefix}-2"))
        self._logs.append(log)
        return log

    async def close(self) -> None:
        for log in self._logs:
            await log.close()


@asynccontextmanager
async def log_site(settings: Settings) -> AsyncIterator[LogSite]:
    """Give a store of the settings, and clean it up at the end of the block."""
    site = LogSite(settings)
    async with dropped_topics(settings):
        try:
            yield site
        finally:
            await site.close()


@asynccontextmanager
async def dropped_topics(settings: Settings) -> AsyncIterator[None]:
    """Drop the topics under the settings' prefix at the end of the block, where they are on a server."""
    try:
        yield
    finally:
        if settings.eventlog_url.startswith("kafka://"):
            log = open_eventlog(settings)
            await log.drop_topics()
            await log.close()


async def configure(settings: Settings, topic: Topic, changed: Mapping[str, str]) -> None:
    """Change settings of a topic on Kafka behind our back, and wait until the broker has heard of it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.eventlog_url.removeprefix("kafka://"))
    await admin.start()
    try:
        full_name = f"{settings.topic_prefix}.{topic.name}"
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, full_name, dict(changed))])
        asked = ConfigResource(ConfigResourceType.TOPIC, full_name, dict.fromkeys(changed, ""))

        async def heard() -> bool:
            (answer,) = await admin.describe_configs([asked])
            ((*_, entries),) = answer.resources
            found: dict[str, str] = {name: value for name, value, *_ in entries}
            return all(found.get(name) == value for name, value in changed.items())

        await until(heard)
    finally:
        await admin.close()


def record(topic: Topic, key: str, value: str | None = "", headers: Headers = ()) -> NewRecord:
    """Return a record whose ordering key is its key."""
    return NewRecord(topic.name, key, key, None if value is None else value.encode(), headers)


def texts(records: Sequence[Record]) -> list[str]:
    """Return the values of records, as text."""
    return ["" if record.value is None else record.value.decode(errors="replace") for record in records]


def after(records: Sequence[Record]) -> dict[TopicPartition, int]:
    """Return the positions that have these records behind them."""
    return {record.topic_partition: record.offset + 1 for record in records}


async def poll_until(consumer: Consumer, number: int, *, max_records: int = 500) -> list[Record]:
    """Poll until that many records have come, within the test's own time-out."""
    records: list[Record] = []
    while len(records) < number:
        records += await consumer.poll(max_records, 1.0)
    return records


async def append(eventlog: EventLog, records: Sequence[NewRecord]) -> None:
    """Append records, whatever they hold."""
    producer = await eventlog.producer()
    try:
        await producer.send(records)
    finally:
        await producer.close()


async def read_all(eventlog: EventLog, *topics: Topic) -> list[Record]:
    """Return every record of the topics up to their present end."""
    reader = await eventlog.reader(topics)
    try:
        return await read_to_end(reader)
    finally:
        await reader.close()


async def read_to_end(reader: Reader, max_records: int = 500) -> list[Record]:
    """Read on until the positions are at the present end."""
    end = await reader.end_offsets()
    records: list[Record] = []
    while not reached(reader.positions(), end):
        records += await reader.read(max_records, 1.0)
    return records


def reached(positions: Mapping[TopicPartition, int], end: Mapping[TopicPartition, int]) -> bool:
    """Say whether every position is at its end or past it."""
    return all(positions[place] >= offset for place, offset in end.items())
