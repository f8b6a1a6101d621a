"""What the log must hold at the least: what the database has told it of."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, func, select, true

from backbone.database.engine import Database
from backbone.database.tables import channels, messages, outbox
from backbone.errors import SetupError
from rebuilder.readers import Source
from schemas.topics import STREAM_TOPICS


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


async def last_numbers_told(database: Database, channel_id: str | None = None) -> Mapping[str, int]:
    """Return the number of the last event of each channel, or of one, that the log was told.

    A channel's events leave the outbox in their order. A database without tables has told nothing. Raises
    Unavailable.
    """
    waiting = (
        select(outbox.c.ordering_key, func.count().label("events"))
        .where(outbox.c.topic.in_([topic.name for topic in STREAM_TOPICS]), outbox.c.body.is_not(None))
        .group_by(outbox.c.ordering_key)
        .subquery()
    )
    told = channels.c.last_sequence - func.coalesce(waiting.c.events, 0)
    query = select(channels.c.channel_id, told).select_from(
        channels.outerjoin(waiting, waiting.c.ordering_key == channels.c.channel_id)
    )
    if channel_id is not None:
        query = query.where(channels.c.channel_id == channel_id)
    try:
        async with database.looking() as connection:
            return {name: number for name, number in await connection.execute(query) if number > 0}
    except SetupError:
        return {}
