"""Inboxes put right, some users at a time: each time in one transaction in which no notifier writes.

Guarantees: killed at any point, an inbox is as it was or right. Sockets go on meanwhile; notifiers wait
HELD_MAX_S at most. What is taken back is told as always; numbers that are given anew are told as an epoch.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.rows import insert_rows
from backbone.database.tables import inbox, inbox_counters
from backbone.outbox import shards_of
from backbone.preferences import tell
from notifier.changes import Changes, Stored
from notifier.rows import lock_counters
from rebuilder.notifications.inboxes import Counter, Entry, Righted
from schemas.events import UserInboxRead
from schemas.notifications import NotificationData
from schemas.preferences import InboxMark

HELD_MAX_S = 5.0
_LOCK_TIMEOUT_MS = 4_000

_columns = tuple(inbox.c)
_PUT = insert_rows(inbox, _columns, changing=[column for column in _columns if not column.primary_key])
_counters = inbox_counters.c
_SET_COUNTERS = insert_rows(
    inbox_counters,
    (_counters.user_id, _counters.epoch, _counters.last_seq, _counters.read_up_to),
    changing=(_counters.epoch, _counters.last_seq, _counters.read_up_to),
)


@asynccontextmanager
async def notifiers_held(live: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction in which no inbox is written by another; whoever reads goes on. Raises Unavailable."""
    async with live.writing() as connection:
        if not live.embedded:
            await connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
            # Every writer of inboxes locks rows of it first.
            await connection.execute(text("LOCK TABLE notified_messages IN EXCLUSIVE MODE"))
        yield connection


async def lock_inboxes(connection: AsyncConnection, users: Collection[str]) -> None:
    """Lock the counters that are there: nobody marks anything as read meanwhile."""
    order = _counters.user_id if connection.dialect.name == "sqlite" else _counters.user_id.collate("C")
    this = select(_counters.user_id).where(_counters.user_id.in_(users))
    await connection.execute(this.order_by(order).with_for_update())


async def put_right(
    live: Database, connection: AsyncConnection, clock: Clock, changes: Mapping[str, Righted]
) -> None:
    """Write what inboxes are to become; their counters are locked."""
    shards = await shards_of(live, "notifications")
    anew = {user_id: each for user_id, each in changes.items() if each.anew}
    if anew:
        await connection.execute(delete(inbox).where(inbox.c.user_id.in_(anew)))
    entries = sorted(
        (each for right in changes.values() for each in right.put), key=lambda e: (e.user_id, e.seq)
    )
    if entries:
        await _PUT.execute(connection, [_row(each) for each in entries])
    counters = [(user_id, *_standing(right.counter)) for user_id, right in sorted(changes.items())]
    await _SET_COUNTERS.execute(connection, counters)
    for user_id, right in sorted(anew.items()):
        mark = InboxMark(user_id=user_id, up_to=right.counter.read_up_to, epoch=right.counter.epoch)
        read = UserInboxRead(event_id=clock.new_id("evt_"), timestamp=clock.now_ms(), payload=mark)
        await tell(connection, shards, user_id, read)
    await _withdraw(connection, clock, shards, changes)


async def _withdraw(
    connection: AsyncConnection, clock: Clock, shards: int, changes: Mapping[str, Righted]
) -> None:
    withdrawn = [each for right in changes.values() for each in right.withdraw]
    if not withdrawn:
        return
    counters = await lock_counters(connection, [each.user_id for each in withdrawn])
    retractions = Changes(counters, clock, shards)
    for entry in withdrawn:
        stored = Stored(**{name: getattr(entry, name) for name in Stored.__slots__})
        data = NotificationData(message_id=entry.message_id, channel_id=entry.channel_id)
        retractions.retract_all([stored], data, even_read=True)
    await retractions.store(connection)


def _row(entry: Entry) -> list[object]:
    fields = asdict(entry)
    return [fields[column.name] for column in _columns]


def _standing(counter: Counter) -> tuple[int, int, int]:
    return counter.epoch, counter.last_seq, counter.read_up_to
