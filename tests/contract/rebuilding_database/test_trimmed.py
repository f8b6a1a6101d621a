"""A log that was trimmed below its start: what cannot be restored is said, and nothing is swapped in."""

import sqlite3

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from backbone.settings import Settings
from schemas.events import decode_stream_event
from schemas.topics import MESSAGES_CREATED
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend
from tests.support.write_side import Users, tables_of


async def trim(settings: Settings, partition: int, before: int) -> None:
    """Take the first records of a partition of `messages.created` away."""
    topic = f"{settings.topic_prefix}.messages.created"
    if settings.eventlog_url.startswith("kafka://"):
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.eventlog_url.removeprefix("kafka://"))
        await admin.start()
        try:
            await admin.delete_records(
                {TopicPartition(topic, partition): RecordsToDelete(before_offset=before)}
            )
        finally:
            await admin.close()
        return
    with sqlite3.connect(settings.eventlog_url.removeprefix("embedded:")) as file:
        (id_,) = file.execute(
            "SELECT id FROM partitions WHERE topic = ? AND partition = ?", (topic, partition)
        ).fetchone()
        file.execute("UPDATE partitions SET earliest = ? WHERE id = ?", (before, id_))
        start = id_ << 40
        file.execute("DELETE FROM records WHERE number >= ? AND number < ?", (start, start + before))
    file.close()


async def test_it_says_what_cannot_be_restored(backend: Backend, users: Users, settings: Settings) -> None:
    """Given a log without its first post, the topic's beginning, the channel and the number are named."""
    first = (await backend.told(MESSAGES_CREATED))[0]
    event = decode_stream_event(first.value or b"")
    await trim(settings, first.partition, first.offset + 1)
    before = await tables_of(backend.ports.database)
    report = await rebuild(backend)
    assert report.outcome == "refused"
    assert report.beginnings["messages.created"][first.partition] == first.offset + 1
    lost = f"channel {event.payload.channel_id!r}: event {event.sequence:,} is missing"
    assert report.gaps == (lost,)
    assert "messages.created begins at offsets" in str(report.reason)
    assert await tables_of(backend.ports.database) == before
