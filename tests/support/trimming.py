"""Logs that lose their first records, as retention or an operator takes them."""

import sqlite3
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from backbone.archive.reading import Archive
from backbone.settings import Settings
from backbone.wiring import open_eventlog
from schemas.topics import MESSAGES_CREATED, STREAM_TOPICS, Topic


async def trim(settings: Settings, partition: int, before: int, topic: Topic = MESSAGES_CREATED) -> None:
    """Take the records of a partition away that lie before an offset."""
    name = f"{settings.topic_prefix}.{topic.name}"
    if settings.eventlog_url.startswith("kafka://"):
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.eventlog_url.removeprefix("kafka://"))
        await admin.start()
        try:
            await admin.delete_records(
                {TopicPartition(name, partition): RecordsToDelete(before_offset=before)}
            )
        finally:
            await admin.close()
        return
    with sqlite3.connect(settings.eventlog_url.removeprefix("embedded:")) as file:
        (id_,) = file.execute(
            "SELECT id FROM partitions WHERE topic = ? AND partition = ?", (name, partition)
        ).fetchone()
        file.execute("UPDATE partitions SET earliest = ? WHERE id = ?", (before, id_))
        start = id_ << 40
        file.execute("DELETE FROM records WHERE number >= ? AND number < ?", (start, start + before))
    file.close()


async def trim_all(settings: Settings, topics: tuple[Topic, ...] = STREAM_TOPICS) -> int:
    """Take away all that the topics hold; return how many offsets that was."""
    log = open_eventlog(settings)
    states = await log.topics()
    await log.close()
    count = 0
    for topic in topics:
        for partition, end in enumerate(states[topic.name].end):
            if end:
                await trim(settings, partition, end, topic)
                count += end
    return count


async def trim_archived(settings: Settings, archive: Archive, topics: Sequence[Topic]) -> int:
    """Take away what the archive has of the topics; return how many offsets that was."""
    count = 0
    for topic in topics:
        for partition in archive.partitions(topic.name):
            end = archive.bounds(topic.name, partition).end
            await trim(settings, partition, end, topic)
            count += end
    return count
