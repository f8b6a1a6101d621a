"""When a way out was used for the first time: what was told before that is pushed only when it is asked for.

Guarantees: the moment is stored before the first push and never changes, so that whatever is told from then
on is pushed, by whichever process, also where all are down for a while.
"""

import asyncio
from collections.abc import Sequence

from sqlalchemy import select

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.missing import insert_missing
from backbone.database.tables import ways_out
from backbone.errors import Unavailable
from backbone.waiting import stopped_within

_RETRY_S = 1.0


async def used_since_ms(database: Database, clock: Clock, name: str) -> int:
    """Return since when the sender of this name is used: since now, if it never was. Raises Unavailable."""
    query = select(ways_out.c.used_since_ms).where(ways_out.c.name == name)
    async with database.writing() as connection:
        await insert_missing(connection, ways_out, [{"name": name, "used_since_ms": clock.now_ms()}])
        return int((await connection.execute(query)).scalar_one())


async def known_first_uses(
    database: Database, clock: Clock, names: Sequence[str], stop: asyncio.Event
) -> dict[str, int]:
    """Return what `used_since_ms` does, of each name, as soon as the database answers.

    Where `stop` is set before, some are left out.
    """
    known: dict[str, int] = {}
    while len(known) < len(names) and not stop.is_set():
        try:
            for name in names:
                known[name] = await used_since_ms(database, clock, name)
        except Unavailable:
            await stopped_within(stop, _RETRY_S)
    return known
