"""How much a lane of the outbox holds and for how long, for the metrics and for whoever must know.

Rows that are set aside, behind one that the log does not take, are told apart: they stop their own key only.
Looking costs as much as there is to count: the more it costs, the rarer it is done. While the database
does not answer, nothing is known, and the metrics say so.
"""

import asyncio
import math
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from prometheus_client import Gauge
from sqlalchemy import ColumnElement, ScalarSelect, func, select, union_all

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.tables import outbox
from backbone.errors import Busy, Unavailable
from backbone.outbox import Lane, shards_of
from backbone.waiting import one_set_within, stopped_within

EVERY_S = 1.0
# What was last seen says nothing of now when the next look has taken so long.
LATE_AFTER_S = 3.0
# A look may take a twentieth of the time, a tenth when it was asked for.
_PAUSE_OF_COST = 20
_PAUSE_WHEN_ASKED = 10
# About what a look at a million rows costs.
_COST_MAX_S = 0.5

depth = Gauge("maeari_outbox_depth", "Events that the log has not acknowledged yet.", ["lane"])
set_aside = Gauge(
    "maeari_outbox_set_aside", "Those of them that wait behind one that the log does not take.", ["lane"]
)
age = Gauge(
    "maeari_outbox_age_seconds", "Age of the oldest event that the log has not acknowledged yet.", ["lane"]
)


class Looking(Protocol):
    """What is kept looking."""

    def look(self) -> Coroutine[Any, Any, object]:
        """Look. Raises Unavailable."""

    def unknown(self, why: str) -> None:
        """Note that what was last seen is no longer known to be so."""


class OutboxWatch:
    """Looks at one lane; counts no further than `up_to`, of what is set aside and of the rest.

    `waiting_s` is for how long the oldest event on its way had waited at the last look.
    """

    def __init__(self, database: Database, lane: Lane, clock: Clock, up_to: int = 1_000_000) -> None:
        self._database = database
        self._lane: Lane = lane
        self._clock = clock
        self._up_to = up_to
        self._shards = 0
        self.waiting_s = 0.0

    async def look(self) -> int:
        """Return how many events are on their way, without those set aside, and set the metrics.

        Raises Unavailable.
        """
        self._shards = self._shards or await shards_of(self._database, self._lane)
        query = select(
            self._count(outbox.c.shard >= 0),
            self._count(outbox.c.shard < 0),
            self._oldest(range(self._shards)),
            self._oldest(range(-self._shards, 0)),
        )
        async with self._database.looking() as connection:
            on_their_way, aside, *oldest_ms = (await connection.execute(query)).one()
        depth.labels(self._lane).set(on_their_way + aside)
        set_aside.labels(self._lane).set(aside)
        now_ms = self._clock.now_ms()
        waiting_s = [0.0 if each is None else max(0, now_ms - each) / 1000 for each in oldest_ms]
        age.labels(self._lane).set(max(waiting_s))
        self.waiting_s = waiting_s[0]
        return int(on_their_way)

    def unknown(self, why: str) -> None:
        """Let the metrics say NaN: an old figure would look like a lane that stands still."""
        for gauge in (depth, set_aside, age):
            gauge.labels(self._lane).set(math.nan)

    def _oldest(self, shards: Iterable[int]) -> ScalarSelect[int]:
        """Return the time of the oldest row of the shards: the first row of each is the oldest there."""
        firsts = union_all(
            *(
                select(
                    select(outbox.c.created_at)
                    .where(outbox.c.lane == self._lane, outbox.c.shard == shard)
                    .order_by(outbox.c.position)
                    .limit(1)
                    .subquery()
                    .c.created_at
                )
                for shard in shards
            )
        ).subquery()
        return select(func.min(firsts.c.created_at)).scalar_subquery()

    def _count(self, which: ColumnElement[bool]) -> ScalarSelect[int]:
        rows = select(outbox.c.position).where(outbox.c.lane == self._lane, which).limit(self._up_to)
        return select(func.count()).select_from(rows.subquery()).scalar_subquery()


async def keep_looking(watch: Looking, stop: asyncio.Event, asked: asyncio.Event | None = None) -> None:
    """Look until `stop` is set, at once when `asked`; what cannot be seen now is told as unknown."""
    asked = asked or asyncio.Event()
    costs_s = deque([0.0], maxlen=2)
    while not stop.is_set():
        asked.clear()
        costs_s.append(await _look(watch))
        # A look that hung with its database says nothing of what there is to count: the cheaper of two does.
        cost_s = min(*costs_s, _COST_MAX_S)
        if not await stopped_within(stop, _PAUSE_WHEN_ASKED * cost_s):
            pause_s = max(EVERY_S, _PAUSE_OF_COST * cost_s)
            await one_set_within((asked, stop), pause_s - _PAUSE_WHEN_ASKED * cost_s)


async def _look(watch: Looking) -> float:
    """Look once; return the seconds that it cost, none where it failed."""
    now_s = asyncio.get_running_loop().time
    began_s = now_s()
    # It is not cancelled when late: a connection to a server that hangs can hang while it is given up, too.
    looking = asyncio.ensure_future(watch.look())
    try:
        if not (await asyncio.wait({looking}, timeout=LATE_AFTER_S))[0]:
            watch.unknown(f"not counted, no answer within {LATE_AFTER_S:g} s")
        await looking
    except Busy:
        return 0.0
    except Unavailable as error:
        watch.unknown(f"not counted: {error.detail}")
        return 0.0
    finally:
        looking.cancel()
    return now_s() - began_s
