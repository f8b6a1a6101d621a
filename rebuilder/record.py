"""What the log must hold at the least: as many messages as the database has told it of."""

from sqlalchemy import func, select, true

from backbone.database.engine import Database
from backbone.database.tables import messages, outbox
from backbone.errors import SetupError
from rebuilder.report import Source


async def messages_told(database: Database, source: Source) -> int:
    """Return how many messages the log was told that `source` reads; a log that holds fewer is not whole.

    Only what the log acknowledged leaves the outbox, so this never counts too many. The state topic alone
    need not hold what got its tombstone. A database without tables has told nothing. Raises Unavailable.
    """
    held = messages.c.tombstoned_at.is_(None) if source == "state" else true()
    stored = select(func.count()).select_from(messages).where(held).scalar_subquery()
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
