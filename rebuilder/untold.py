"""What the log has yet to be told of a time: waited for a while, for a fold of the log would lack it."""

import asyncio

from sqlalchemy import func, select

from backbone.database.engine import Database
from backbone.database.tables import outbox
from backbone.errors import SetupError
from rebuilder.patience import patiently
from rebuilder.refusal import Refusal
from schemas.topics import STREAM_TOPICS

TOLD_WITHIN_S = 10.0
_ASK_AGAIN_S = 0.2


class Untold(Refusal):
    """The log has yet to be told of that time; the text is one line that says so."""


async def all_told(database: Database, until_ms: int) -> None:
    """Return once the log was told all that happened by then. Raises Untold, or Unavailable."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + TOLD_WITHIN_S
    while waiting := await patiently(lambda: _untold(database, until_ms)):
        if loop.time() > until_s:
            raise Untold(
                f"the log has yet to be told of {waiting:,} events of that time, which wait in the outbox:"
                " let `maeari backend` run, then ask again"
            )
        await asyncio.sleep(_ASK_AGAIN_S)


async def _untold(database: Database, until_ms: int) -> int:
    """Return how many events of channels wait; a database without tables has none. Raises Unavailable."""
    query = (
        select(func.count())
        .select_from(outbox)
        .where(
            outbox.c.topic.in_([topic.name for topic in STREAM_TOPICS]),
            outbox.c.body.is_not(None),
            outbox.c.created_at <= until_ms,
        )
    )
    try:
        async with database.reading() as connection:
            return int(await connection.scalar(query) or 0)
    except SetupError:
        return 0
