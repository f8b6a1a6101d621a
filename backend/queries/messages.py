"""Messages as they are now, for those who may see them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select

from backbone.database.engine import Database
from backbone.database.tables import channel_members, channels, messages
from backend.domain.rejections import Gone, NotFound
from backend.rows import message_from_row
from schemas.messages import Message


async def get_message(database: Database, message_id: str, reader_id: str | None) -> Message:
    """Return the message. Raises NotFound (also where the reader has no right) or Gone."""
    query = (
        select(messages, channels.c.private)
        .join(channels, channels.c.channel_id == messages.c.channel_id)
        .where(messages.c.message_id == message_id)
    )
    async with database.reading() as connection:
        row = (await connection.execute(query)).mappings().first()
        if row is None or (row["private"] and not await _is_member(connection, row["channel_id"], reader_id)):
            raise NotFound("there is no such message")
    record = message_from_row(row)
    if record.deleted:
        raise Gone("the message was deleted")
    return record.message


async def private_channels_of(database: Database, user_id: str | None) -> tuple[str, ...]:
    """Return the private channels that the user is in, sorted."""
    if user_id is None:
        return ()
    query = (
        select(channels.c.channel_id)
        .join(channel_members, channel_members.c.channel_id == channels.c.channel_id)
        .where(channels.c.private, channel_members.c.user_id == user_id)
        .order_by(channels.c.channel_id)
    )
    async with database.reading() as connection:
        return tuple(await connection.scalars(query))


async def readable_messages(
    database: Database, message_ids: Sequence[str], reader_id: str | None
) -> set[str]:
    """Return which of the messages exist, are not deleted, and may be seen by the reader."""
    if not message_ids:
        return set()
    member = (
        select(channel_members.c.channel_id)
        .where(channel_members.c.channel_id == channels.c.channel_id, channel_members.c.user_id == reader_id)
        .exists()
    )
    query = (
        select(messages.c.message_id)
        .join(channels, channels.c.channel_id == messages.c.channel_id)
        .where(
            messages.c.message_id.in_(message_ids),
            messages.c.deleted_at.is_(None),
            ~channels.c.private | member,
        )
    )
    async with database.reading() as connection:
        return set(await connection.scalars(query))


async def _is_member(connection: Any, channel_id: str, user_id: str | None) -> bool:
    query: Select[Any] = select(channel_members.c.role).where(
        channel_members.c.channel_id == channel_id, channel_members.c.user_id == user_id
    )
    row: Mapping[str, Any] | None = (await connection.execute(query)).mappings().first()
    return row is not None
