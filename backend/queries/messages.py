"""Messages as they are and as they were, for those who may see them."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import RowMapping, Text, bindparam, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import channel_members, channels, message_events, messages
from backbone.joins import READABLE, READER_ID, readable_message, reader, with_role, with_role_of
from backend.domain.access import no_such_message, require_may_see
from backend.domain.evolve import evolve_message
from backend.domain.rejections import Gone, NotFound
from backend.domain.state import MessageRecord, former
from backend.queries.missing import require_recorded
from backend.rows import message_from_row
from schemas.events import decode_message_event
from schemas.messages import FormerMessage, Message

_channel_ids = msgspec.json.Decoder(tuple[str, ...])
# Each page of a search asks this: put together anew each time it would cost more than it does.
_READABLE_OF = (
    select(messages.c.message_id)
    .select_from(with_role_of(messages.join(channels, channels.c.channel_id == messages.c.channel_id)))
    .where(
        messages.c.message_id.in_(bindparam("message_ids", expanding=True)),
        messages.c.deleted_at.is_(None),
        READABLE,
    )
)


async def get_message(database: Database, message_id: str, reader_id: str | None) -> Message:
    """Return the message as it is. Raises NotFound (also where the reader has no right) or Gone."""
    async with database.reading() as connection:
        record = message_from_row(await require_message_row(connection, message_id, reader_id))
    if record.deleted:
        raise Gone("the message was deleted")
    return record.message


async def get_former_message(
    database: Database, message_id: str, reader_id: str | None, at_ms: int
) -> FormerMessage:
    """Return the message as it was at a time, the events of that very millisecond included.

    Raises NotFound, also where it did not exist yet, or Gone, except to owners, when it is deleted now, or
    Conflict where the record lacks its history.
    """
    events = message_events.c
    query = (
        select(events.body)
        .where(events.message_id == message_id, events.timestamp <= at_ms)
        .order_by(events.sequence.desc())
        # Each event carries the whole message, but for a deletion: that needs the one before.
        .limit(2)
    )
    async with database.reading() as connection:
        row = await require_message_row(connection, message_id, reader_id)
        await require_recorded(connection, row["channel_id"], row["sequence"] - 1)
        bodies = (await connection.scalars(query)).all()
    record: MessageRecord | None = None
    for body in reversed(bodies):
        record = evolve_message(record, decode_message_event(body))
    if record is None:
        raise NotFound("the message did not exist at that time")
    require_may_see(row["deleted_at"] is not None or record.deleted, row["role"])
    return former(record)


async def require_message_row(
    connection: AsyncConnection, message_id: str, reader_id: str | None
) -> RowMapping:
    """Return the message's row, deleted or not, and the reader's `role`. Raises NotFound."""
    source = with_role(messages.join(channels, channels.c.channel_id == messages.c.channel_id), reader_id)
    query = select(messages, reader.c.role).select_from(source)
    query = query.where(messages.c.message_id == message_id, READABLE)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise no_such_message()
    return row


async def private_channels_of(database: Database, user_id: str | None) -> tuple[str, ...]:
    """Return the private channels that the user may read, in no order."""
    if user_id is None:
        return ()
    # All of them in one text: thousands of rows would cost the search more than all else it asks.
    gathered = func.json_group_array if database.embedded else func.json_agg
    as_text = cast(gathered(channels.c.channel_id), Text)
    query = (
        # Whoever is in a channel may read it.
        select(func.coalesce(as_text, "[]"))
        .select_from(channel_members.join(channels, channels.c.channel_id == channel_members.c.channel_id))
        .where(channel_members.c.user_id == user_id, channels.c.private)
    )
    async with database.reading() as connection:
        return _channel_ids.decode(await connection.scalar(query) or "[]")


async def may_read_message(database: Database, message_id: str, reader_id: str | None) -> bool:
    """Say whether there is such a message, deleted or not, in a channel that the reader may read."""
    async with database.reading() as connection:
        return await connection.scalar(select(readable_message(message_id, reader_id))) is not None


async def readable_messages(
    database: Database, message_ids: Sequence[str], reader_id: str | None
) -> set[str]:
    """Return which of the messages exist, are not deleted, and may be seen by the reader."""
    if not message_ids:
        return set()
    given = {"message_ids": list(message_ids), READER_ID: reader_id or ""}
    async with database.reading() as connection:
        return set(await connection.scalars(_READABLE_OF, given))
