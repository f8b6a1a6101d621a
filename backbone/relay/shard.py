"""One shard of the outbox, told by its owner: read in order, sent behind a fence, deleted.

The fence is taken before the first look, and with it that of whoever owned all shards: what a former owner
had under way is settled by then, and whatever it tries later is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import Counter
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.ownership import as_owner, ownership, while_owner
from backbone.database.rows import RowsStatement
from backbone.database.tables import outbox
from backbone.errors import Poison
from backbone.eventlog import EventLog, NewRecord, Producer, RecordTooLarge
from backbone.health import Health
from backbone.outbox import Lane
from backbone.relay.joint import Joint, NotSent, fence_of_all
from backbone.relay.records import records_of
from backbone.relay.stopped import Siding, StoppedKeys

# What is sent and deleted at once, whichever is less: a batch must reach a slow log in seconds.
BATCH_MAX_ROWS = 500
BATCH_MAX_BYTES = 4_000_000
# How often the first rows of stopped keys are tried again, and how many of them each time.
RETRY_AFTER_S = 30.0
_RETRIED_AT_ONCE = 10

relayed = Counter("maeari_relay_events_total", "Events that the log acknowledged.", ["lane"])

_DELETE = RowsStatement(
    [outbox.c.position], "DELETE FROM outbox WHERE position IN (SELECT position FROM {given})"
)

Entry = tuple[Row[Any], Sequence[NewRecord]]


class OwnedShard:
    """A shard in the hands of its owner; `step` after `step` tells what it holds."""

    def __init__(
        self,
        database: Database,
        connection: AsyncConnection,
        producer: Producer,
        lane: Lane,
        shard: int,
        health: Health,
        stopped: StoppedKeys,
        retry_after_s: float,
        joint: Joint | None,
    ) -> None:
        self._database = database
        self._connection = connection
        self._producer = self._sender = producer
        self._joint = joint
        self._lane = lane
        self._shard = shard
        self._health = health
        self._stopped = stopped
        self._retry_after_s = retry_after_s
        self._retry_at_s = 0.0
        self._siding = Siding(lane, shard)
        # The stopped keys, those first whose turn is next; a new owner has yet to look which they are.
        self._keys: dict[str, None] = {}
        self._keys_known = False
        self._rows_max = BATCH_MAX_ROWS
        self.more = True
        """Whether the last step left rows that it knows of; it says nothing of those that came since."""
        self._first_rows = _first_rows(lane, shard, embedded=database.embedded)

    async def step(self) -> int:
        """Tell one batch; return how many rows were told or set aside, 0 when there was none.

        Raises Unavailable: then the shard must be given up.
        """
        # Chosen before anything is read: what is read after that, this process owned when it had the fence.
        joint = self._joint.producer if self._joint is not None else None
        self._sender = joint or self._producer
        retried = 0
        if asyncio.get_running_loop().time() >= self._retry_at_s:
            retried = await self._try_stopped_keys()
        rows = await self._next_rows()
        self.more = self.more or retried > 0
        self._health.up("database")
        if not rows:
            return retried
        # The log may take its time, a broker's death for one: the owner must stay the owner meanwhile.
        told = await while_owner(self._database, self._connection, self._tell(rows))
        async with as_owner(self._connection):
            if told:
                await _DELETE.execute(self._connection, [(position,) for position in told])
            await self._siding.put(
                self._connection, [row.position for row in rows if row.position not in told]
            )
        relayed.labels(self._lane).inc(len(told))
        return retried + len(rows)

    @property
    def sends_jointly(self) -> bool:
        """Whether this shard sends with the others."""
        return self._sender is not self._producer

    async def _next_rows(self) -> Sequence[Row[Any]]:
        """Return the first rows, as many as are sent at once; the database sends no more than it must."""
        rows_max = self._rows_max
        async with as_owner(self._connection):
            found = (await self._connection.exec_driver_sql(self._first_rows, (rows_max,))).all()
        rows = [row for row in found if row.size_up_to <= BATCH_MAX_BYTES] or found[:1]
        # Sizes are looked at of as many rows as were of use the last time, and then of more again.
        cut = len(rows) < len(found)
        self.more = cut or len(found) == rows_max
        self._rows_max = len(rows) if cut else min(rows_max * 2, BATCH_MAX_ROWS)
        return rows

    async def _tell(self, rows: Sequence[Row[Any]]) -> set[int]:
        """Send the rows whose keys do not stand still; return the positions of those that were told."""
        entries: list[Entry] = []
        for row in rows:
            if row.ordering_key in self._keys:
                continue
            try:
                entries.append((row, records_of(row)))
            except Poison as poison:
                self._stop(row, str(poison))
        return await self._send(entries)

    async def _send(self, entries: Sequence[Entry]) -> set[int]:
        """Send at once; where that is too large for the log, half by half, down to the row that is."""
        if not entries:
            return set()
        try:
            await self._append([record for _, records in entries for record in records])
        except RecordTooLarge as error:
            if len(entries) == 1:
                self._stop(entries[0][0], str(error))
                return set()
            middle = len(entries) // 2
            told = await self._send(entries[:middle])
            return told | await self._send(
                [e for e in entries[middle:] if e[0].ordering_key not in self._keys]
            )
        return {row.position for row, _ in entries}

    async def _append(self, records: Sequence[NewRecord]) -> None:
        try:
            await self._sender.send(records)
        except NotSent:
            # Another shard was lost meanwhile. This one is owned still, behind its own fence.
            self._sender = self._producer
            await self._sender.send(records)

    async def _try_stopped_keys(self) -> int:
        """See whether the log takes by now what it refused; return how many rows it took."""
        if not self._keys_known:
            self._keys |= dict.fromkeys(await self._siding.keys(self._connection))
            self._keys_known = True
        turn = list(self._keys)[:_RETRIED_AT_ONCE]
        told = 0
        for key in turn:
            del self._keys[key]
            told += await self._try_stopped_key(key)
        # Where the log took what it was offered, the next ones need not wait.
        all_go_on = self._keys.keys().isdisjoint(turn)
        pause_s = 0.0 if self._keys and all_go_on else self._retry_after_s
        self._retry_at_s = asyncio.get_running_loop().time() + pause_s
        return told

    async def _try_stopped_key(self, key: str) -> int:
        """Offer the key's first row to the log; return how many rows it took. The key may be stopped anew."""
        head = await self._siding.head(self._connection, key)
        told = 0
        if head is not None:
            told = len(await while_owner(self._database, self._connection, self._tell([head])))
            if not told:
                return 0
            relayed.labels(self._lane).inc()
            await self._siding.bring_back(self._connection, head)
        self._stopped.remove(self._shard, key)
        return told

    def _stop(self, row: Row[Any], reason: str) -> None:
        self._keys[row.ordering_key] = None
        self._stopped.add(self._shard, row, reason)


def _first_rows(lane: Lane, shard: int, *, embedded: bool) -> str:
    """Return the query for the first rows, at most its parameter, up to the one that makes them too large.

    It is text, for it is asked so often that putting it together would cost more than the answer.
    """
    # PostgreSQL tells these bytes without reading a long body; old SQLites know them of blobs only.
    size = "length(CAST(body AS BLOB))" if embedded else "octet_length(body)"
    rows_max = "?" if embedded else "$1"
    return f"""
        SELECT * FROM (
            SELECT first.*, sum(size) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS size_up_to
            FROM (
                SELECT outbox.*, coalesce({size}, 0) AS size FROM outbox
                WHERE lane = '{lane}' AND shard = {shard:d} ORDER BY position LIMIT {rows_max}
            ) AS first
        ) AS sized WHERE size_up_to - size <= {BATCH_MAX_BYTES} ORDER BY position"""


async def _read_in_order(connection: AsyncConnection) -> None:
    """Have PostgreSQL walk along the shard's index: of a table that fills and empties it knows no numbers.

    Taken for small, a shard with a large backlog would be read and sorted as a whole for each batch.
    """
    async with as_owner(connection):
        for plan in ("bitmapscan", "seqscan"):
            await connection.execute(text(f"SET enable_{plan} = off"))


async def _producer_of(eventlog: EventLog, lane: Lane, shard: int) -> Producer:
    """Take the fence of the shard's owner, and that of whoever owned it with all others."""
    producer = await eventlog.producer(fence=f"relay.{lane}.{shard}")
    taken = False
    try:
        await (await eventlog.producer(fence=fence_of_all(lane))).close()
        taken = True
    finally:
        if not taken:
            await producer.close()
    return producer


@asynccontextmanager
async def owned_shard(
    database: Database,
    eventlog: EventLog,
    lane: Lane,
    shard: int,
    health: Health,
    stopped: StoppedKeys | None = None,
    retry_after_s: float = RETRY_AFTER_S,
    joint: Joint | None = None,
) -> AsyncIterator[OwnedShard | None]:
    """Own the shard during the block; None where another process owns it. Raises Unavailable."""
    async with ownership(database, f"relay/{lane}/{shard}") as connection:
        if connection is None:
            yield None
            return
        if not database.embedded:
            await _read_in_order(connection)
        producer = await while_owner(database, connection, _producer_of(eventlog, lane, shard))
        stopped = stopped or StoppedKeys(lane, health)
        try:
            yield OwnedShard(
                database, connection, producer, lane, shard, health, stopped, retry_after_s, joint
            )
        finally:
            stopped.forget(shard)
            await producer.close()
