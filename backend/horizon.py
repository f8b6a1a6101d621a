"""A deletion's second half: past the replay horizon a tombstone takes the message out of the state topic.

Guarantees: a tombstone is put into the outbox in the transaction that notes it, once for each deleted
message, however many processes look for them; it lies there behind every event of its message, since
nothing follows a deletion. Looking costs one question to an index that holds only what awaits its
tombstone; a backlog goes in small batches, and only while little else waits in the outbox.
"""

import asyncio
import random

import structlog
from prometheus_client import Counter
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.tables import messages, outbox
from backbone.errors import Unavailable
from backbone.outbox import shards_of, tombstone_row
from backbone.waiting import stopped_within, until_stopped
from backend.commands.transaction import Stored
from schemas.topics import REPLAY_HORIZON_MS

# So many at once, and none while so much waits. A relay of the revision before passes over tombstones: a
# few hundred of them leave it, among the first rows of a shard, enough of what it knows.
BATCH_MAX = 50
ROOM_MAX = 200
# Nobody waits for a tombstone: a minute is soon enough after seven days.
LOOK_EVERY_S = 60.0
# Between the batches of a backlog, for the relay to tell them and for others to write.
PACE_S = 0.2
STOP_GRACE_S = 1.0

log = structlog.get_logger()
tombstones = Counter(
    "maeari_state_tombstones", "Tombstones of states that were put into the outbox, past the replay horizon."
)

_AWAITS_TOMBSTONE = messages.c.deleted_at.is_not(None) & messages.c.tombstoned_at.is_(None)


class Horizon:
    """Finds the messages that were deleted longer ago than the horizon; `stored` is told of their rows."""

    def __init__(
        self, database: Database, clock: Clock, stored: Stored = lambda _shards, _rows: None
    ) -> None:
        self._database = database
        self._clock = clock
        self._stored = stored
        self._shards = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set; a database that is down is waited for."""
        while not stop.is_set():
            put = None
            try:
                put = await until_stopped(self.step(), stop, STOP_GRACE_S)
            except Unavailable as error:
                log.info("horizon_waits", reason=str(error))
            # Backends that started together need not look together.
            await stopped_within(stop, PACE_S if put else LOOK_EVERY_S * random.uniform(0.5, 1.0))

    async def step(self) -> int:
        """Put the next tombstones into the outbox, return how many; 0 also while it holds enough.

        Raises Unavailable.
        """
        self._shards = self._shards or await shards_of(self._database, "messages")
        now_ms = self._clock.now_ms()
        if not await self._any_due(now_ms):
            return 0
        async with self._database.writing() as connection:
            shards, put = await self._put(connection, now_ms)
        if put:
            tombstones.inc(put)
            self._stored(shards, put)
        return put

    async def _any_due(self, now_ms: int) -> bool:
        """Say whether a tombstone is due and there is room for it; takes no lock."""
        first = select(func.min(messages.c.deleted_at)).where(_AWAITS_TOMBSTONE)
        on_their_way = (
            select(outbox.c.position).where(outbox.c.lane == "messages", outbox.c.shard >= 0).limit(ROOM_MAX)
        )
        waiting = select(func.count()).select_from(on_their_way.subquery())
        async with self._database.looking() as connection:
            oldest_ms = await connection.scalar(first)
            if oldest_ms is None or oldest_ms >= now_ms - REPLAY_HORIZON_MS:
                return False
            return int(await connection.scalar(waiting) or 0) < ROOM_MAX

    async def _put(self, connection: AsyncConnection, now_ms: int) -> tuple[frozenset[int], int]:
        due = (
            select(messages.c.message_id, messages.c.channel_id)
            .where(_AWAITS_TOMBSTONE, messages.c.deleted_at < now_ms - REPLAY_HORIZON_MS)
            .order_by(messages.c.deleted_at)
            .limit(BATCH_MAX)
            # What another process has in hand is its own to do.
            .with_for_update(key_share=True, skip_locked=True)
        )
        found = (await connection.execute(due)).all()
        if not found:
            return frozenset(), 0
        chosen = messages.c.message_id.in_([row.message_id for row in found])
        await connection.execute(update(messages).where(chosen).values(tombstoned_at=now_ms))
        rows = [tombstone_row(self._shards, row.channel_id, row.message_id, now_ms) for row in found]
        await connection.execute(insert(outbox), rows)
        return frozenset(int(row["shard"]) for row in rows), len(rows)
