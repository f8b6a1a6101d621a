"""A channel's stream as one reader may see it: where it ends, and what comes after a number.

Guarantees: the reader's right is asked in the very statement that reads; of a message that was deleted
since, the events come emptied, except to owners. Every method raises Unavailable.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, RowMapping, and_, select

from backbone.access import readable, sees_deleted
from backbone.database.bounded import fitting, read_page
from backbone.database.engine import Database
from backbone.database.tables import channel_members, channels, message_events, messages
from backbone.redaction import redacted

_event = message_events.c
_member = channel_members.alias("follower")
_READABLE = readable(channels.c.private, _member.c.role)
_EVENTS = fitting(
    (_event.sequence, _event.body, messages.c.deleted_at, _member.c.role), (_event.body,), _event.sequence
)


class StreamedEvent(NamedTuple):
    """An event of a channel, as the JSON that the reader may see."""

    sequence: int
    body: str


_PUBLIC = fitting((_event.sequence, _event.body, messages.c.deleted_at), (_event.body,), _event.sequence)


class StreamPage(NamedTuple):
    """Events of a channel, in order, no gap; and whether there are more behind them."""

    events: list[StreamedEvent]
    more: bool


class ChannelStream:
    """Reads the streams of channels out of the record of the write side."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def end(self, channel_id: str, user_id: str) -> int | None:
        """Return the number of the channel's last event, None where there is no channel for the user."""
        joined = channels.outerjoin(_member, _membership(user_id))
        query = select(channels.c.last_sequence).select_from(joined)
        query = query.where(channels.c.channel_id == channel_id, _READABLE)
        async with self._database.reading() as connection:
            return await connection.scalar(query)

    async def after_for_all(self, channel_id: str, sequence: int, limit: int) -> StreamPage | None:
        """Return what `after` returns, where that is the same for everybody; None where it is not.

        That is so in a public channel, as long as nothing in the page was deleted.
        """
        joined = message_events.join(channels, channels.c.channel_id == _event.channel_id).outerjoin(
            messages, messages.c.message_id == _event.message_id
        )
        query = select(*_PUBLIC).select_from(joined).order_by(_event.sequence)
        query = query.where(_event.channel_id == channel_id, _event.sequence > sequence, ~channels.c.private)
        public = select(~channels.c.private).where(channels.c.channel_id == channel_id)
        async with self._database.reading() as connection:
            rows, more = await read_page(connection, query, limit)
            if not rows and not await connection.scalar(public):
                return None
        if any(row["deleted_at"] is not None for row in rows):
            return None
        return StreamPage([StreamedEvent(row["sequence"], row["body"]) for row in rows], more)

    async def after(self, channel_id: str, user_id: str, sequence: int, limit: int) -> StreamPage | None:
        """Return at most `limit` events after a number, fewer where they are large.

        None where there is no channel for the user any more.
        """
        joined = (
            message_events.join(channels, channels.c.channel_id == _event.channel_id)
            .outerjoin(_member, _membership(user_id))
            .outerjoin(messages, messages.c.message_id == _event.message_id)
        )
        query = select(*_EVENTS).select_from(joined).order_by(_event.sequence)
        query = query.where(_event.channel_id == channel_id, _event.sequence > sequence, _READABLE)
        async with self._database.reading() as connection:
            rows, more = await read_page(connection, query, limit)
        if not rows and await self.end(channel_id, user_id) is None:
            return None
        return StreamPage([StreamedEvent(row["sequence"], _as_seen(row)) for row in rows], more)


def _as_seen(row: RowMapping) -> str:
    if row["deleted_at"] is None or sees_deleted(row["role"]):
        return str(row["body"])
    return redacted(row["body"])


def _membership(user_id: str) -> ColumnElement[bool]:
    return and_(_member.c.channel_id == channels.c.channel_id, _member.c.user_id == user_id)
