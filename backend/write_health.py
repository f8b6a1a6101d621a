"""Whether writes go through: a database may answer every question and take nothing, its disk being full."""

import asyncio

from sqlalchemy import update

from backbone.database.engine import Database
from backbone.database.tables import outbox_lanes
from backbone.errors import Busy, Unavailable
from backbone.health import Health
from backbone.waiting import one_set_within, stopped_within

DEPENDENCY = "writes"
_TRY_EVERY_S = 1.0
_LOOK_EVERY_S = 60.0


class WriteHealth:
    """Notes writes that failed, and tries by itself until one goes through.

    Nobody sends writes to what is not ready: without trying it would never hear that they go through again.
    """

    def __init__(self, database: Database, health: Health) -> None:
        self._database = database
        self._health = health
        self._failed = asyncio.Event()

    def failed(self, error: Unavailable) -> None:
        """Note a write that was not stored, or of which that is not known."""
        if not isinstance(error, Busy):
            self._health.down(DEPENDENCY, error.detail)
            self._failed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Try after each failure until `stop` is set."""
        while not stop.is_set():
            await one_set_within((self._failed, stop), _LOOK_EVERY_S)
            if not self._failed.is_set() or await stopped_within(stop, _TRY_EVERY_S):
                continue
            try:
                await self._try()
            except Unavailable as error:
                self.failed(error)
            else:
                self._failed.clear()
                self._health.up(DEPENDENCY)

    async def _try(self) -> None:
        """Write what is there already."""
        async with self._database.writing() as connection:
            await connection.execute(update(outbox_lanes).values(shards=outbox_lanes.c.shards))
