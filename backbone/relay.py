"""The relay: tells the log what the outbox holds, in order, and deletes what the log acknowledged.

Guarantees: rows of one ordering key reach the log in the order of their positions, at least once.
It remembers no position of its own: a row that becomes visible late is simply in the next look.
One process at a time owns a lane.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Row, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.ownership import HEARTBEAT_S, ownership, while_owner
from backbone.database.tables import outbox
from backbone.errors import Unavailable
from backbone.eventlog import EventLog, NewRecord, Producer, RecordTooLarge
from backbone.health import Health
from backbone.outbox import Lane
from backbone.waiting import stopped_within, until_stopped
from schemas.events import SCHEMA_VERSION, MessagesEvent, decode, encode
from schemas.states import state_after
from schemas.topics import MESSAGES_STATE

# What is sent and deleted at once, whichever is less: a batch must reach a slow log in seconds.
BATCH_MAX_ROWS = 500
BATCH_MAX_CHARACTERS = 4_000_000
_POLL_S = 0.1
# What is under way when the process stops has this long; what was not acknowledged is told again.
STOP_GRACE_S = 1.0
_BACKOFF_MAX_S = 5.0

log = structlog.get_logger()
relayed = Counter("maeari_relay_events_total", "Events that the log acknowledged.", ["lane"])
pending = Gauge("maeari_relay_batch", "Events in the batch that the relay last read.", ["lane"])


class Relay:
    """Drains one lane of the outbox; `wake` makes it look at once."""

    def __init__(self, database: Database, eventlog: EventLog, lane: Lane, health: Health) -> None:
        self._database = database
        self._eventlog = eventlog
        self._lane = lane
        self._health = health
        self._producer: Producer | None = None
        self._woken = asyncio.Event()
        self._rows_max = BATCH_MAX_ROWS

    def wake(self) -> None:
        """Say that there are new rows."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Drain until `stop` is set; whatever is down is waited for."""
        backoff_s = 0.1
        while not stop.is_set():
            try:
                await until_stopped(self._run_as_owner(stop), stop, STOP_GRACE_S)
                backoff_s = 0.1
            except Unavailable as error:
                self._health.down(error.dependency, error.detail)
                log.warning("relay_waits", lane=self._lane, reason=str(error))
                await self.close()
                await stopped_within(stop, backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
        await self.close()

    async def step(self, connection: AsyncConnection) -> int:
        """Tell one batch over the owner's connection and delete it; return how many events it had."""
        async with connection.begin():
            query = (
                select(outbox)
                .where(outbox.c.lane == self._lane)
                .order_by(outbox.c.position)
                .limit(self._rows_max)
            )
            rows = self._bounded((await connection.execute(query)).all())
        self._health.up("database")
        pending.labels(self._lane).set(len(rows))
        if not rows:
            return 0
        # The log may take its time, a broker's death for one: the owner must stay the owner meanwhile.
        await while_owner(self._database, connection, self._send(rows))
        self._health.up("eventlog")
        async with connection.begin():
            await connection.execute(
                delete(outbox).where(outbox.c.position.in_([row.position for row in rows]))
            )
        relayed.labels(self._lane).inc(len(rows))
        return len(rows)

    async def close(self) -> None:
        """Let the producer go; the next step opens another."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    def _bounded(self, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        """Return the first rows, as many as are sent at once, and ask for as many the next time."""
        size = 0
        for number, row in enumerate(rows):
            size += len(row.body)
            if size > BATCH_MAX_CHARACTERS:
                self._rows_max = max(1, number)
                return rows[: max(1, number)]
        self._rows_max = min(self._rows_max * 2, BATCH_MAX_ROWS)
        return rows

    async def _send(self, rows: Sequence[Row[Any]]) -> None:
        if self._producer is None:
            self._producer = await self._eventlog.producer()
        try:
            await self._producer.send([record for row in rows for record in records_of(row)])
        except RecordTooLarge as error:
            raise Unavailable("eventlog", f"it takes no record of this size: {error}") from error

    async def _run_as_owner(self, stop: asyncio.Event) -> None:
        async with ownership(self._database, f"relay/{self._lane}") as connection:
            if connection is None:
                await stopped_within(stop, HEARTBEAT_S)
                return
            log.info("relay_owns", lane=self._lane)
            while not stop.is_set():
                self._woken.clear()
                if not await self.step(connection):
                    await self._wait_for_rows(stop)

    async def _wait_for_rows(self, stop: asyncio.Event) -> None:
        """Wait for a wake-up, but look again soon: rows of other processes come without one."""
        waits = [asyncio.create_task(self._woken.wait()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(waits, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def records_of(row: Row[Any]) -> Sequence[NewRecord]:
    """Return the records of an outbox row: the event, and for a message's event its state behind it."""
    headers = (
        ("event_type", row.event_type.encode()),
        ("schema_version", str(SCHEMA_VERSION).encode()),
        ("content-type", b"application/json"),
    )
    told = NewRecord(row.topic, row.ordering_key, row.ordering_key, row.body.encode(), headers)
    event = decode(row.body)
    if not isinstance(event, MessagesEvent):
        return (told,)
    state = NewRecord(
        MESSAGES_STATE.name, event.payload.message_id, row.ordering_key, encode(state_after(event)), headers
    )
    return (told, state)
