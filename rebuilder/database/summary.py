"""What the side tables hold: their rows counted, and a digest of each channel's messages."""

from typing import Any

from sqlalchemy import Column, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import (
    channel_members,
    channels,
    idempotency_keys,
    message_events,
    messages,
)
from backend.domain.state import MessageRecord
from backend.rows import message_from_row
from indexer.projection import document_of_event
from rebuilder.database.report import Counts
from rebuilder.digest import Digests, message_hash
from schemas.documents import IndexedDocument
from schemas.events import MessageCreated, MessageDeleted
from schemas.messages import DeletedMessage

_STEP = 2_000


async def counts_of(database: Database, records: int, differing: int, problems: int) -> Counts:
    """Count the rows; the rest is known. Raises Unavailable."""
    async with database.looking() as connection:
        return Counts(
            records=records,
            differing_rows=differing,
            problems=problems,
            events=await _count(connection, message_events.c.channel_id),
            channels=await _count(connection, channels.c.channel_id),
            members=await _count(connection, channel_members.c.user_id),
            messages=await _count(connection, messages.c.message_id),
            deleted=await _count(connection, messages.c.deleted_at),
            idempotency_keys=await _count(connection, idempotency_keys.c.key_hash),
        )


async def digests_of(database: Database) -> Digests:
    """Return the digests of the channels' messages, which are read some at a time. Raises Unavailable."""
    digests = Digests()
    query = select(messages, channels.c.private).join(
        channels, channels.c.channel_id == messages.c.channel_id
    )
    async with database.looking() as connection:
        result = await connection.stream(query.execution_options(yield_per=_STEP))
        async for row in result.mappings():
            message_id, document = _document(message_from_row(row), bool(row["private"]))
            digests.add(document.channel, message_hash(message_id, document), document.deleted)
    return digests


def _document(record: MessageRecord, private: bool) -> IndexedDocument:
    message = record.message
    envelope = {"event_id": "", "timestamp": 0, "sequence": message.version, "private": private}
    if not record.deleted:
        return document_of_event(MessageCreated(**envelope, payload=message))  # type: ignore[arg-type]
    gone = DeletedMessage(
        message_id=message.message_id,
        channel_id=message.channel_id,
        author_id=message.author_id,
        sequence=message.sequence,
        version=message.version,
        deleted_at=message.updated_at,
        deleted_by=record.deleted_by or "",
    )
    return document_of_event(MessageDeleted(**envelope, payload=gone))  # type: ignore[arg-type]


async def _count(connection: AsyncConnection, column: Column[Any]) -> int:
    return int(await connection.scalar(select(func.count(column))) or 0)
