"""What users want to be told: stored together with the events that tell of it.

Guarantees: a user's events are in the outbox in the order in which they took effect.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.rows import RowsStatement, insert_rows
from backbone.database.tables import channel_levels, inbox_counters, outbox, quiet_hours
from backbone.outbox import outbox_row, shards_of
from schemas.events import UserChannelLevelSet, UserDoNotDisturbSet, UsersEvent
from schemas.preferences import ChannelLevel, DoNotDisturb, Level, Preferences, QuietHours

DEFAULT_LEVEL: Level = "all"

_levels = channel_levels.c
_hours = quiet_hours.c
_SET_LEVEL = insert_rows(
    channel_levels, (_levels.user_id, _levels.channel_id, _levels.level), changing=(_levels.level,)
)
_SET_HOURS = insert_rows(
    quiet_hours, tuple(_hours), changing=(_hours.starts_at, _hours.ends_at, _hours.timezone)
)
# Makes the rows that are missing and locks all, in the order given: even an update of nothing locks.
LOCK_COUNTERS = RowsStatement(
    (inbox_counters.c.user_id,),
    "INSERT INTO inbox_counters (user_id, epoch, last_seq, read_up_to)"
    " SELECT user_id, 1, 0, 0 FROM {given} WHERE true ORDER BY row_number"
    " ON CONFLICT (user_id) DO UPDATE SET last_seq = inbox_counters.last_seq"
    " RETURNING user_id, last_seq, read_up_to",
)
_WISHES_OF = RowsStatement(
    (_levels.user_id, _levels.channel_id),
    "SELECT given.user_id, given.channel_id, l.level, q.starts_at, q.ends_at, q.timezone FROM {given}"
    " LEFT JOIN channel_levels l ON l.user_id = given.user_id AND l.channel_id = given.channel_id"
    " LEFT JOIN quiet_hours q ON q.user_id = given.user_id"
    " WHERE l.level IS NOT NULL OR q.starts_at IS NOT NULL",
)


class Wish(NamedTuple):
    """What a user wants to be told of one channel."""

    level: Level = DEFAULT_LEVEL
    do_not_disturb: DoNotDisturb | None = None


class PreferenceBook:
    """Reads and changes preferences. Every method raises Unavailable."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of(self, user_id: str) -> Preferences:
        """Return what the user wants."""
        levels = select(_levels.channel_id, _levels.level).where(_levels.user_id == user_id)
        hours = select(quiet_hours).where(_hours.user_id == user_id)
        async with self._database.reading() as connection:
            channels = {row.channel_id: row.level for row in await connection.execute(levels)}
            row = (await connection.execute(hours)).mappings().one_or_none()
        return Preferences(
            do_not_disturb=None
            if row is None
            else DoNotDisturb(start=row["starts_at"], end=row["ends_at"], timezone=row["timezone"]),
            channels=dict(sorted(channels.items())),
        )

    async def set_level(self, user_id: str, channel_id: str, level: Level) -> None:
        """Note of what in a channel the user wants to be told."""
        payload = ChannelLevel(user_id=user_id, channel_id=channel_id, level=level)
        event = UserChannelLevelSet(
            event_id=self._clock.new_id("evt_"), timestamp=self._clock.now_ms(), payload=payload
        )
        shards = await shards_of(self._database, "notifications")
        async with self._database.writing() as connection:
            await lock_user(connection, user_id)
            if level == DEFAULT_LEVEL:
                this = (_levels.user_id == user_id) & (_levels.channel_id == channel_id)
                await connection.execute(delete(channel_levels).where(this))
            else:
                await _SET_LEVEL.execute(connection, [(user_id, channel_id, level)])
            await tell(connection, shards, user_id, event)

    async def set_do_not_disturb(self, user_id: str, hours: DoNotDisturb | None) -> None:
        """Note when the user is not to be disturbed, None: never mind."""
        event = UserDoNotDisturbSet(
            event_id=self._clock.new_id("evt_"),
            timestamp=self._clock.now_ms(),
            payload=QuietHours(user_id=user_id, do_not_disturb=hours),
        )
        shards = await shards_of(self._database, "notifications")
        async with self._database.writing() as connection:
            await lock_user(connection, user_id)
            if hours is None:
                await connection.execute(delete(quiet_hours).where(_hours.user_id == user_id))
            else:
                await _SET_HOURS.execute(connection, [(user_id, hours.start, hours.end, hours.timezone)])
            await tell(connection, shards, user_id, event)


async def wishes_of(
    connection: AsyncConnection, places: Collection[tuple[str, str]]
) -> Mapping[tuple[str, str], Wish]:
    """Return what each (user, channel) wants to be told, those without a wish left out."""
    if not places:
        return {}
    return {
        (user_id, channel_id): Wish(
            DEFAULT_LEVEL if level is None else level,
            None if start is None else DoNotDisturb(start=start, end=end, timezone=timezone),
        )
        for user_id, channel_id, level, start, end, timezone in await _WISHES_OF.execute(
            connection, sorted(places)
        )
    }


async def lock_user(connection: AsyncConnection, user_id: str) -> None:
    """Lock the row that all changes of what is the user's own lock, making it where it is missing."""
    await LOCK_COUNTERS.execute(connection, [(user_id,)])


async def tell(connection: AsyncConnection, shards: int, user_id: str, event: UsersEvent) -> None:
    """Put an event of a user into the outbox; the user's row is locked."""
    await connection.execute(insert(outbox), [outbox_row("notifications", shards, user_id, event)])
