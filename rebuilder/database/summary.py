"""What the side tables hold: their rows counted, and a digest of each channel's messages."""

from typing import Any
from unicodedata import normalize

import msgspec
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
from rebuilder.database.report import Counts
from rebuilder.digest import Digests, message_hash
from schemas.clock import format_ms
from schemas.documents import SearchDocument

_STEP = 2_000
_message = messages.c
_READ = (
    _message.message_id,
    _message.channel_id,
    _message.author_id,
    _message.content,
    _message.mentions,
    _message.attachments,
    _message.parent_id,
    _message.sequence,
    _message.version,
    _message.created_at,
    _message.updated_at,
    _message.deleted_at,
    channels.c.private,
)
_mentions: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])


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
    query = (
        select(*_READ)
        .join(channels, channels.c.channel_id == _message.channel_id)
        .execution_options(yield_per=_STEP)
    )
    async with database.looking() as connection:
        result = await connection.stream(query)
        async for rows in result.partitions():
            for row in rows:
                message_id, document = _document(*row)
                digests.add(document.channel, message_hash(message_id, document), document.deleted)
    return digests


def _document(
    message_id: str,
    channel_id: str,
    author_id: str,
    content: str,
    mentions: str,
    attachments: str,
    parent_id: str | None,
    sequence: int,
    version: int,
    created_at: int,
    updated_at: int,
    deleted_at: int | None,
    private: bool,
) -> tuple[str, SearchDocument]:
    """Return what an index holds of the message, as `indexer.projection` makes it of an event."""
    gone = deleted_at is not None
    updated = format_ms(updated_at)
    return message_id, SearchDocument(
        content=normalize("NFC", content),
        author=author_id,
        channel=channel_id,
        created_at=None if gone else updated if created_at == updated_at else format_ms(created_at),
        updated_at=updated,
        mentions=() if mentions == "[]" else _mentions.decode(mentions),
        has_attachment=attachments != "[]",
        parent_id=None if gone else parent_id,
        private=bool(private),
        sequence=sequence,
        version=version,
        deleted=gone,
    )


async def _count(connection: AsyncConnection, column: Column[Any]) -> int:
    return int(await connection.scalar(select(func.count(column))) or 0)
