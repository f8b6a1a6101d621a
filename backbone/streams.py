"""A channel's stream as its readers see it: every event in order, no gap, out of the record.

Guarantees: the reader's right is asked in the very statement that reads; what was deleted is emptied, but
for owners; a page costs what it holds, and ends by number or by size, whatever comes first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, RowMapping, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.access import sees_deleted
from backbone.database.bounded import Rows, fitting, read_page
from backbone.database.engine import Database
from backbone.database.tables import channels, message_events, messages, missing_history
from backbone.joins import READABLE, readable_channel, reader, with_role
from backbone.redaction import redacted
from schemas.channels import Role

_event = message_events.c
_IN_RECORD = (_event.sequence, _event.event_type, _event.body, messages.c.deleted_at)
_RECORDED = fitting(_IN_RECORD, (_event.body,), _event.sequence)
_READ = fitting((*_IN_RECORD, reader.c.role), (_event.body,), _event.sequence)
_LACKING = missing_history.c.channel_id == channels.c.channel_id
_WITH_MESSAGES = messages.c.message_id == _event.message_id
# Below what a statement of either database takes as parameters.
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the record has it, and whether its message was deleted since."""

    sequence: int
    event_type: str
    body: str
    deleted: bool

    def seen_by(self, role: Role | None) -> str:
        """Return the event's JSON as someone with this role may see it."""
        return self.body if not self.deleted or sees_deleted(role) else redacted(self.body)


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order; the reader's role when they were read, and whether there were more behind them."""

    events: Sequence[StoredEvent]
    more: bool
    role: Role | None


@dataclass(frozen=True, slots=True)
class End:
    """Where a channel stands: its last event, whether it is private, and the reader's role.

    Up to `lacks_up_to` the record does not hold its events: it was rebuilt from states.
    """

    sequence: int
    private: bool
    role: Role | None
    lacks_up_to: int = 0


async def end_of(database: Database, channel_id: str, reader_id: str) -> End | None:
    """Return the channel's end, None where there is no such channel for the reader. Raises Unavailable."""
    async with database.reading() as connection:
        return await _end_of(connection, channel_id, reader_id)


async def events_after(
    database: Database, channel_id: str, reader_id: str | None, after: int, limit: int
) -> Page | None:
    """Return at most `limit` events after `after`, None where there is no such channel for the reader.

    A page without more behind it ends with the channel's last event, and tells the role as of that one.
    Raises Unavailable.
    """
    which = (_event.channel_id == readable_channel(channel_id, reader_id)) & (_event.sequence > after)
    async with database.reading() as connection:
        rows, more = await read_events(connection, reader_id, which, limit)
        if rows:
            return Page(_stored(rows), more, rows[-1]["role"])
        # Nothing was read: whether there was nothing, or no right, is asked as of now.
        end = await _end_of(connection, channel_id, reader_id)
    return None if end is None else Page((), end.sequence > after, end.role)


async def recorded_after(
    database: Database, channel_id: str, after: int, limit: int
) -> Sequence[StoredEvent]:
    """Return at most `limit` events after `after`, whoever may read them. Raises Unavailable."""
    query = (
        select(*_RECORDED)
        .select_from(message_events.outerjoin(messages, _WITH_MESSAGES))
        .where(_event.channel_id == channel_id, _event.sequence > after)
        .order_by(_event.sequence)
    )
    async with database.reading() as connection:
        return _stored((await read_page(connection, query, limit)).rows)


async def ends_of(database: Database, channel_ids: Sequence[str]) -> Mapping[str, int]:
    """Return the last event of each of the channels that exist. Raises Unavailable."""
    columns = channels.c
    ends: dict[str, int] = {}
    for start in range(0, len(channel_ids), _CHUNK):
        chunk = channel_ids[start : start + _CHUNK]
        query = select(columns.channel_id, columns.last_sequence).where(columns.channel_id.in_(chunk))
        async with database.looking() as connection:
            ends.update((row.channel_id, row.last_sequence) for row in await connection.execute(query))
    return ends


async def read_events(
    connection: AsyncConnection, reader_id: str | None, which: ColumnElement[bool], limit: int
) -> Rows:
    """Return events with the time of their message's deletion, and the reader's role."""
    source = message_events.join(channels, channels.c.channel_id == _event.channel_id)
    source = with_role(source, reader_id).outerjoin(messages, _WITH_MESSAGES)
    query = select(*_READ).select_from(source).where(which).order_by(_event.sequence)
    return await read_page(connection, query, limit)


async def _end_of(connection: AsyncConnection, channel_id: str, reader_id: str | None) -> End | None:
    query = (
        select(
            channels.c.last_sequence,
            channels.c.private,
            reader.c.role,
            func.coalesce(missing_history.c.up_to, 0),
        )
        .select_from(with_role(channels, reader_id).outerjoin(missing_history, _LACKING))
        .where(channels.c.channel_id == channel_id, READABLE)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else End(*row)


def _stored(rows: Sequence[RowMapping]) -> Sequence[StoredEvent]:
    return [
        StoredEvent(row["sequence"], row["event_type"], row["body"], row["deleted_at"] is not None)
        for row in rows
    ]
