"""Says no before the outbox overflows: an estimate between looks, which never falls behind our own writes."""

import asyncio

from backbone.clock import Clock, SystemClock
from backbone.database.engine import Database
from backbone.health import Health
from backbone.outbox_watch import OutboxWatch, keep_looking
from backend.domain.rejections import Overloaded

DEPENDENCY = "outbox"
RELAY = "relay"
# Whoever relays is frozen then, or far behind; where the log is down, that is told of the log, too.
_LATE_S = 30.0


class OutboxGauge:
    """The depth of the lane of messages: as it was at the last look, and what this process stored since.

    At `maximum` events writes are refused; those set aside, which stop their own channel only, do not count.
    The relay's progress is seen by the next look, made at once when the estimate is near the maximum.
    """

    def __init__(self, database: Database, maximum: int, health: Health, clock: Clock | None = None) -> None:
        self._watch = OutboxWatch(database, "messages", clock or SystemClock(), up_to=maximum)
        self._maximum = maximum
        self._health = health
        self._counted = 0
        self._stored = 0
        self._asked = asyncio.Event()

    def require_room(self) -> None:
        """Raise Overloaded when the outbox is full; to be called before anything is written."""
        if self._counted + self._stored >= self._maximum:
            self._ask()
            raise Overloaded("the event log is behind and the outbox is full", retry_after_s=5)

    def stored(self, events: int) -> None:
        """Count what this process stored."""
        self._stored += events
        if self._stored * 2 >= self._maximum - self._counted:
            self._ask()

    async def look(self) -> int:
        """Count the events on their way, up to the maximum. Raises Unavailable."""
        stored_before = self._stored
        self._counted = await self._watch.look()
        # What was stored during the look may be in its count or not: it counts as not, until the next one.
        self._stored -= stored_before
        if self._counted >= self._maximum:
            self._health.down(DEPENDENCY, f"holds its maximum of {self._maximum} events")
        else:
            self._health.up(DEPENDENCY)
        if self._watch.waiting_s >= _LATE_S:
            self._health.down(
                RELAY, f"the oldest event waits for the log since {self._watch.waiting_s:.0f} s"
            )
        else:
            self._health.up(RELAY)
        return self._counted

    def unknown(self, why: str) -> None:
        """Note that there was no look: neither that there is room is known, nor that there is none."""
        self._watch.unknown(why)
        self._health.down(DEPENDENCY, why)
        self._health.down(RELAY, why)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set."""
        await keep_looking(self, stop, self._asked)

    def _ask(self) -> None:
        """Have the next look made at once, unless the last one saw that there is no room anyway."""
        if self._counted < self._maximum:
            self._asked.set()
