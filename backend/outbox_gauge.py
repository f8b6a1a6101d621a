"""Watches how much the outbox holds: for the metrics, for `ready`, and for saying no before it overflows."""

from prometheus_client import Gauge
from sqlalchemy import func, select

from backbone.database.engine import Database
from backbone.database.tables import outbox
from backbone.health import Health
from backend.domain.rejections import Overloaded

DEPENDENCY = "outbox"

depth = Gauge("maeari_outbox_depth", "Events that the log has not acknowledged yet.", ["lane"])


class OutboxGauge:
    """The depth of the lane of messages, as it was at the last look; at `maximum` rows writes are refused."""

    def __init__(self, database: Database, maximum: int, health: Health) -> None:
        self._database = database
        self._maximum = maximum
        self._health = health
        self._full = False

    def require_room(self) -> None:
        """Raise Overloaded when the outbox is full."""
        if self._full:
            raise Overloaded("the event log is behind and the outbox is full", retry_after_s=5)

    async def look(self) -> int:
        """Count the rows, up to the maximum. Raises Unavailable."""
        rows = select(outbox.c.position).where(outbox.c.lane == "messages").limit(self._maximum).subquery()
        async with self._database.reading() as connection:
            count = int(await connection.scalar(select(func.count()).select_from(rows)) or 0)
        depth.labels("messages").set(count)
        self._full = count >= self._maximum
        if self._full:
            self._health.down(DEPENDENCY, f"holds its maximum of {self._maximum} events")
        else:
            self._health.up(DEPENDENCY)
        return count
