"""What the log must hold at the least: as many messages as the database has told it of."""

from sqlalchemy import func, select

from backbone.database.engine import Database
from backbone.database.tables import messages, outbox
from backbone.errors import SetupError


async def messages_told(database: Database) -> int:
    """Return how many messages were told to the log; a log that holds fewer is not whole.

    Only what the log acknowledged leaves the outbox, so this never counts too many. A database
    without tables has told nothing. Raises Unavailable.
    """
    stored = select(func.count()).select_from(messages).scalar_subquery()
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
