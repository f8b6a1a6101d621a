"""What stands still: keys with a row that the log does not take, and shards of which it takes nothing.

The rows of such keys are set aside, under a shard number of their own, so that looking for the next rows
costs the same however many wait there. They are brought back, before any later row of the key is sent,
once the first of them was taken.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.ownership import as_owner
from backbone.database.tables import outbox
from backbone.health import Health
from backbone.outbox import Lane

log = structlog.get_logger()
stopped_keys = Gauge(
    "maeari_outbox_stopped_keys", "Ordering keys that wait behind a row that the log does not take.", ["lane"]
)
_LONGEST_NAMED = 100
_BROUGHT_BACK_AT_ONCE = 5_000


def siding_of(shard: int) -> int:
    """Return the number under which a shard's rows are set aside."""
    return -1 - shard


class StoppedKeys:
    """The keys and shards of one lane that stand still, as far as they are this process's; reports them."""

    def __init__(self, lane: Lane, health: Health) -> None:
        self._lane = lane
        self._health = health
        self._reasons: dict[tuple[int, str], str] = {}
        self._waiting: dict[int, str] = {}
        stopped_keys.labels(lane).set(0)

    def add(self, shard: int, row: Row[Any], reason: str) -> None:
        """Report a key once, with the row that stops it."""
        if self._reasons.get((shard, row.ordering_key)) == reason:
            return
        self._reasons[shard, row.ordering_key] = reason
        log.error(
            "relay_key_stopped",
            lane=self._lane,
            key=row.ordering_key,
            position=row.position,
            size_characters=len(row.body or ""),
            reason=reason,
        )
        self._report()

    def remove(self, shard: int, key: str) -> None:
        """Report that a key goes on."""
        if self._reasons.pop((shard, key), None) is not None:
            log.info("relay_key_goes_on", lane=self._lane, key=key)
            self._report()

    def forget(self, shard: int) -> None:
        """Leave the shard's keys to its next owner."""
        kept = {place: reason for place, reason in self._reasons.items() if place[0] != shard}
        if len(kept) != len(self._reasons):
            self._reasons = kept
            self._report()

    def wait(self, shard: int, reason: str) -> None:
        """Report a shard of which the log takes nothing for now."""
        self._waiting[shard] = reason
        self._report()

    def waits_no_longer(self, shard: int) -> None:
        """Report that a shard goes on, or that it is no business of this process any more."""
        if self._waiting.pop(shard, None) is not None:
            self._report()

    def _report(self) -> None:
        stopped_keys.labels(self._lane).set(len(self._reasons))
        name = f"relay of {self._lane}"
        if self._waiting:
            self._health.down(name, f"waits: {next(iter(self._waiting.values()))[:300]}")
            return
        if not self._reasons:
            self._health.up(name)
            return
        (_, key), reason = next(iter(self._reasons.items()))
        others = f", and {len(self._reasons) - 1} more" if len(self._reasons) > 1 else ""
        self._health.down(name, f"stopped at {key[:_LONGEST_NAMED]!r}{others}: {reason[:300]}")


class Siding:
    """The rows of one shard that are set aside."""

    def __init__(self, lane: Lane, shard: int) -> None:
        self._shard = shard
        self._main = (outbox.c.lane == lane) & (outbox.c.shard == shard)
        self._aside = (outbox.c.lane == lane) & (outbox.c.shard == siding_of(shard))

    async def keys(self, connection: AsyncConnection) -> Sequence[str]:
        """Return the keys that have rows here, the longest waiting first."""
        first = func.min(outbox.c.position)
        query = select(outbox.c.ordering_key).where(self._aside).group_by(outbox.c.ordering_key)
        async with as_owner(connection):
            return (await connection.execute(query.order_by(first))).scalars().all()

    async def head(self, connection: AsyncConnection, key: str) -> Row[Any] | None:
        """Return the first row of a key."""
        query: Select[Any] = select(outbox).where(self._aside & (outbox.c.ordering_key == key))
        async with as_owner(connection):
            return (await connection.execute(query.order_by(outbox.c.position).limit(1))).one_or_none()

    async def put(self, connection: AsyncConnection, positions: Sequence[int]) -> None:
        """Set rows aside, in the transaction of the caller."""
        if positions:
            chosen = outbox.c.position.in_(positions)
            await connection.execute(update(outbox).where(chosen).values(shard=siding_of(self._shard)))

    async def bring_back(self, connection: AsyncConnection, head: Row[Any]) -> None:
        """Delete a key's first row, which was told, and put the others back where they were.

        It takes a transaction for each few thousand rows, the last ones first: whoever owns the shard when
        only some are back finds the first ones here, and so the key stopped.
        """
        async with as_owner(connection):
            await connection.execute(delete(outbox).where(outbox.c.position == head.position))
        last_rows = (
            select(outbox.c.position)
            .where(self._aside & (outbox.c.ordering_key == head.ordering_key))
            .order_by(outbox.c.position.desc())
            .limit(_BROUGHT_BACK_AT_ONCE)
        )
        moving = update(outbox).where(outbox.c.position.in_(last_rows)).values(shard=self._shard)
        moved = _BROUGHT_BACK_AT_ONCE
        while moved == _BROUGHT_BACK_AT_ONCE:
            async with as_owner(connection):
                moved = (await connection.execute(moving)).rowcount
