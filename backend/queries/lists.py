"""Lists out of channels: messages, threads, and the events themselves.

Guarantees: the reader's right is asked in the very statement that reads; a page costs what it holds, and
ends by number or by size, whatever comes first. Places are sequences. Each function raises NotFound where
nothing exists for the reader.
"""

import msgspec
from sqlalchemy import ColumnElement, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone import streams
from backbone.database.bounded import fitting, read_page
from backbone.database.engine import Database
from backbone.database.tables import message_events, messages
from backbone.joins import readable_channel, readable_message
from backend.domain.access import no_such_channel, require_may_see
from backend.queries.channels import require_readable
from backend.queries.messages import require_message_row
from backend.queries.missing import require_recorded
from backend.queries.pages import Page
from backend.rows import MESSAGE_COLUMNS, message_from_row
from schemas.messages import Message

_message = messages.c
_event = message_events.c

_TEXTS = (_message.content, _message.mentions, _message.attachments)
_OLDEST = fitting(MESSAGE_COLUMNS, _TEXTS, _message.sequence)
_NEWEST = fitting(MESSAGE_COLUMNS, _TEXTS, _message.sequence.desc())


async def newest_messages(
    database: Database, channel_id: str, reader_id: str | None, before: int | None, limit: int
) -> Page[int, Message]:
    """Return the channel's live messages that were created before `before`, newest first."""
    older = true() if before is None else _message.sequence < before
    of_channel = _message.channel_id == readable_channel(channel_id, reader_id)
    async with database.reading() as connection:
        found = await _live_messages(connection, of_channel & older, limit, newest_first=True)
        if not found.items:
            await require_readable(connection, channel_id, reader_id)
        return found


async def messages_after(
    database: Database, channel_id: str, reader_id: str | None, after: int, limit: int
) -> Page[int, Message]:
    """Return the channel's live messages that were created after `after`, oldest first."""
    newer = _message.sequence > after
    of_channel = _message.channel_id == readable_channel(channel_id, reader_id)
    async with database.reading() as connection:
        found = await _live_messages(connection, of_channel & newer, limit)
        if not found.items:
            await require_readable(connection, channel_id, reader_id)
        return found


async def replies_to(
    database: Database, message_id: str, reader_id: str | None, after: int, limit: int
) -> Page[int, Message]:
    """Return the live replies to the message, which may be deleted itself, oldest first."""
    newer = _message.sequence > after
    of_thread = _message.parent_id == readable_message(message_id, reader_id)
    async with database.reading() as connection:
        found = await _live_messages(connection, of_thread & newer, limit)
        if not found.items:
            await require_message_row(connection, message_id, reader_id)
        return found


async def history_of(
    database: Database, message_id: str, reader_id: str | None, after: int, limit: int
) -> Page[int, msgspec.Raw]:
    """Return the message's events as they are stored, oldest first.

    Raises Gone too, except to owners, and Conflict where the record lacks them.
    """
    of_message = _event.message_id == readable_message(message_id, reader_id)
    async with database.reading() as connection:
        rows, more = await streams.read_events(
            connection, reader_id, of_message & (_event.sequence > after), limit
        )
        message = await require_message_row(connection, message_id, reader_id)
        await require_recorded(connection, message["channel_id"], message["sequence"] - 1)
    for row in rows or [message]:
        require_may_see(row["deleted_at"] is not None, row["role"])
    return Page([(row["sequence"], _raw(row["body"])) for row in rows], more)


async def events_after(
    database: Database, channel_id: str, reader_id: str | None, after: int, limit: int
) -> Page[int, msgspec.Raw]:
    """Return the channel's events, oldest first, no gap; what was deleted is emptied, except for owners.

    Raises Conflict where the record lacks them.
    """
    page = await streams.events_after(database, channel_id, reader_id, after, limit)
    if page is None:
        raise no_such_channel()
    async with database.reading() as connection:
        await require_recorded(connection, channel_id, after)
    return Page([(event.sequence, _raw(event.seen_by(page.role))) for event in page.events], page.more)


async def _live_messages(
    connection: AsyncConnection, which: ColumnElement[bool], limit: int, *, newest_first: bool = False
) -> Page[int, Message]:
    columns, order = (_NEWEST, _message.sequence.desc()) if newest_first else (_OLDEST, _message.sequence)
    query = select(*columns).where(which, _message.deleted_at.is_(None)).order_by(order)
    rows, more = await read_page(connection, query, limit)
    return Page([(row["sequence"], message_from_row(row).message) for row in rows], more)


def _raw(body: str) -> msgspec.Raw:
    return msgspec.Raw(body.encode())
