"""What the log must hold at the least: as many messages as the database has told it of."""

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import messages, outbox
from backbone.errors import SetupError
from rebuilder.report import Source
from schemas.topics import MESSAGE_TOPICS


async def messages_told(database: Database, source: Source, until_ms: int | None = None) -> int:
    """Return how many messages the log was told that `source` reads; a log that holds fewer is not whole.

    Only what the log acknowledged leaves the outbox, so this never counts too many. The state topic alone
    need not hold what got its tombstone. With `until_ms` only those count that were written by then. A
    database without tables has told nothing. Raises Unavailable.
    """
    held = messages.c.tombstoned_at.is_(None) if source == "state" else true()
    written: ColumnElement[bool] = true() if until_ms is None else messages.c.created_at <= until_ms
    stored = select(func.count()).select_from(messages).where(held, written).scalar_subquery()
    waiting = (
        select(func.count())
        .select_from(outbox)
        .where(outbox.c.event_type == "message.created")
        .scalar_subquery()
    )
    try:
        async with database.reading() as connection:
            return int(await connection.scalar(select(stored - waiting)) or 0)
    except SetupError:
        return 0


async def events_untold(database: Database, until_ms: int) -> int:
    """Return how many events of messages that happened by then the log has yet to be told.

    A database without tables has none. Raises Unavailable.
    """
    try:
        async with database.reading() as connection:
            return await _waiting(connection, until_ms)
    except SetupError:
        return 0


async def _waiting(connection: AsyncConnection, until_ms: int) -> int:
    query = (
        select(func.count())
        .select_from(outbox)
        .where(
            outbox.c.topic.in_([topic.name for topic in MESSAGE_TOPICS]),
            outbox.c.body.is_not(None),
            outbox.c.created_at <= until_ms,
        )
    )
    return int(await connection.scalar(query) or 0)
