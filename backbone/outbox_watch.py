"""How much a lane of the outbox holds and for how long, for the metrics and for whoever must know.

Rows that are set aside, behind one that the log does not take, are told apart: they stop their own key only.
Looking costs as much as there is to count: the more it costs, the rarer it is done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from prometheus_client import Gauge
from sqlalchemy import ColumnElement, ScalarSelect, func, select, union_all

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.tables import outbox
from backbone.errors import Unavailable
from backbone.outbox import Lane, shards_of
from backbone.waiting import one_set_within, stopped_within

EVERY_S = 1.0
SELDOM_S = 60.0
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


async def keep_looking(
    look: Callable[[], Awaitable[object]], stop: asyncio.Event, asked: asyncio.Event | None = None
) -> None:
    """Look until `stop` is set, at once when `asked`; that the database is down is for others to tell."""
    asked = asked or asyncio.Event()
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        asked.clear()
        began_s = loop.time()
        with suppress(Unavailable):
            await look()
        # A look that hung with its database says nothing of what there is to count.
        cost_s = min(loop.time() - began_s, _COST_MAX_S)
        if not await stopped_within(stop, _PAUSE_WHEN_ASKED * cost_s):
            pause_s = min(max(EVERY_S, _PAUSE_OF_COST * cost_s), SELDOM_S)
            await one_set_within((asked, stop), pause_s - _PAUSE_WHEN_ASKED * cost_s)
