"""What concerns the many: told to them, or taken back, some at a time, each time in one transaction.

Guarantees: an announcement that was stored is carried out to its end, whichever process dies, and each
member is told once; none waits for another to end: they take turns.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.rows import insert_rows
from backbone.database.tables import announcements, channels
from backbone.errors import Unavailable
from backbone.outbox import shards_of
from backbone.preferences import wishes_of
from backbone.waiting import one_set_within
from notifier.changes import Changes
from notifier.memberships import members_at
from notifier.projection import Announcement, Known, Told, announced
from notifier.rows import AT_ONCE, lock_counters, lock_messages, standing_of, told_of
from notifier.withdrawals import Case, withdrawn_of
from schemas.notifications import NotificationData

# Who stored an announcement says so; one that was left behind by a process that died is found by looking.
LOOK_EVERY_S = 1.0

_columns = announcements.c
_INSERT = insert_rows(announcements, tuple(_columns), changing=(_columns.turn,))
log = structlog.get_logger()


async def announce(
    connection: AsyncConnection, data: NotificationData, new: Iterable[Announcement], now_ms: int
) -> None:
    """Store what is to be told to all members of a channel."""
    message_id, channel_id = data.message_id, data.channel_id
    rows = [
        (message_id, each.sequence, channel_id, each.author_id, each.content, each.happened_at, "", now_ms)
        for each in new
    ]
    if rows:
        await _INSERT.execute(connection, rows)


async def take_back(connection: AsyncConnection, data: NotificationData, sequence: int, now_ms: int) -> None:
    """Store that notifications of a message may have to be taken back, because of an event.

    It lies under the negative of the event's number: the same event may have something to announce, too.
    """
    row = (data.message_id, -sequence, data.channel_id, "", None, 0, "", now_ms)
    await _INSERT.execute(connection, [row])


class Announcer:
    """Carries announcements out, beside others that do the same."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        grown: Callable[[Collection[str]], None] = lambda _users: None,
        changes: type[Changes] = Changes,
    ) -> None:
        """`grown` is told of the users whose inbox grew."""
        self._database = database
        self._clock = clock
        self._grown = grown
        self._changes = changes
        self._shards = 0
        self._look = asyncio.Event()

    def wake(self) -> None:
        """Say that there is something to announce."""
        self._look.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Announce until `stop` is set; a database that is down is asked again."""
        while not stop.is_set():
            self._look.clear()
            try:
                while not stop.is_set() and await self.step():
                    pass
            except Unavailable as error:
                log.warning("announcements_wait", reason=str(error))
            except Exception as error:
                log.error("announcement_failed", exc_info=error)
            await one_set_within((stop, self._look), LOOK_EVERY_S)

    async def step(self) -> bool:
        """Carry one announcement on; say whether there was one that nobody else is at. Raises Unavailable."""
        self._shards = self._shards or await shards_of(self._database, "notifications")
        async with self._database.looking() as connection:
            # Mostly there is none: whoever writes is not kept waiting for that.
            if (await connection.execute(_ANY)).one_or_none() is None:
                return False
        row = None
        try:
            async with self._database.writing() as connection:
                row = (await connection.execute(_NEXT)).one_or_none()
                if row is None:
                    return False
                changes, grown = await self._carry_on(connection, row)
        except Exception as error:
            if row is not None and not isinstance(error, Unavailable):
                await self._pass_over(row)
            raise
        changes.count()
        self._grown(grown)
        return True

    async def _carry_on(self, connection: AsyncConnection, row: Any) -> tuple[Changes, set[str]]:
        """Tell some more users, and note up to where; return the changes, and whose inbox grew."""
        changes, told_up_to = await self._some(connection, row)
        grown = await changes.store(connection)
        if told_up_to is None:
            await connection.execute(delete(announcements).where(_this(row)))
        else:
            further = update(announcements).where(_this(row))
            await connection.execute(further.values(told_up_to=told_up_to, turn=changes.now_ms))
        return changes, grown

    async def _pass_over(self, row: Any) -> None:
        """Let the others have their turn before one that fails is tried again."""
        async with self._database.writing() as connection:
            turn = update(announcements).where(_this(row)).values(turn=self._clock.now_ms())
            await connection.execute(turn)

    async def _some(self, connection: AsyncConnection, row: Any) -> tuple[Changes, str | None]:
        """Tell some more users; return the changes, and the last of these users, None when all are told."""
        known = (await lock_messages(connection, [row.message_id]))[row.message_id]
        data = NotificationData(message_id=row.message_id, channel_id=row.channel_id)
        carry = self._taken_back if row.content is None else self._told
        return await carry(connection, row, known, data)

    async def _told(
        self, connection: AsyncConnection, row: Any, known: Known, data: NotificationData
    ) -> tuple[Changes, str | None]:
        announcement = Announcement(row.sequence, row.author_id, row.content, row.happened_at)
        members = await members_at(connection, row.channel_id, row.sequence, row.told_up_to, AT_ONCE)
        concerned = ((row.message_id, Told(user_id, "mention")) for user_id in members)
        told = (await told_of(connection, concerned))[row.message_id]
        new = announced(told, announcement, members)
        withdrawn = await _withdrawn(connection, row, known, [each.told for each in new])
        counters = await lock_counters(connection, (each.user_id for each in new))
        wishes = await wishes_of(connection, [(each.user_id, row.channel_id) for each in new])
        changes = self._changes(counters, self._clock, self._shards)
        changes.notify_all(new, data, wishes, withdrawn)
        return changes, members[-1] if len(members) == AT_ONCE else None

    async def _taken_back(
        self, connection: AsyncConnection, row: Any, known: Known, data: NotificationData
    ) -> tuple[Changes, str | None]:
        standing = await standing_of(connection, row.message_id, row.told_up_to)
        told_up_to = None
        if len(standing) == AT_ONCE:
            # The last user may have one more than was read.
            standing = [each for each in standing if each.user_id != standing[-1].user_id]
            told_up_to = standing[-1].user_id
        withdrawn = await _withdrawn(connection, row, known, [each.told for each in standing])
        retracted = [each for each in standing if each.told in withdrawn]
        counters = await lock_counters(connection, (each.user_id for each in retracted))
        changes = self._changes(counters, self._clock, self._shards)
        changes.retract_all(retracted, data, even_read=known.deleted)
        return changes, told_up_to


def _this(row: Any) -> ColumnElement[bool]:
    return and_(_columns.message_id == row.message_id, _columns.sequence == row.sequence)


async def _withdrawn(
    connection: AsyncConnection, row: Any, known: Known, told: Collection[Told]
) -> Collection[Told]:
    """Return what of the told is to be taken back of the message."""
    private = await connection.scalar(
        select(channels.c.private).where(channels.c.channel_id == row.channel_id)
    )
    case = Case(known, row.channel_id, private is True, told)
    return (await withdrawn_of(connection, {row.message_id: case}))[row.message_id]


_ANY = select(_columns.sequence).limit(1)
# Whichever has waited for its turn the longest is next; what another process is at is passed over.
_NEXT = select(announcements).order_by(_columns.turn).limit(1).with_for_update(skip_locked=True)
