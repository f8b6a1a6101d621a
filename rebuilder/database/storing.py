"""Writes batches into the side tables: in one transaction the rows, and how far the log was read for them.

Guarantees: whatever is killed when, the side holds exactly what lies before its noted offsets.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.copying import copy_rows
from backbone.database.rows import RowsStatement, insert_rows
from backbone.database.tables import channel_levels, idempotency_keys, message_events, messages, quiet_hours
from backbone.eventlog import TopicPartition
from backbone.preferences import DEFAULT_LEVEL
from backend.rows import MESSAGE_COLUMNS
from rebuilder.database.rows import Chunk, Rows
from rebuilder.database.side import Side
from rebuilder.database.tables import counters, created, offsets, problems, touched
from rebuilder.problems import Problem
from rebuilder.refusal import Refusal
from schemas.events import UserChannelLevelSet, UserDoNotDisturbSet, UsersEvent

_NOTE_OFFSETS = insert_rows(offsets, tuple(offsets.c), changing=[offsets.c.position])
_NOTE_PROBLEMS = insert_rows(problems, tuple(problems.c), changing=[problems.c.reason])
_TOUCH = insert_rows(touched, tuple(touched.c))
_INSERT_EVENTS = RowsStatement(
    tuple(message_events.c),
    f"INSERT INTO message_events ({', '.join(message_events.c.keys())})"
    f" SELECT {', '.join(message_events.c.keys())} FROM {{given}} WHERE true ORDER BY row_number"
    " ON CONFLICT DO NOTHING",
)
_CONTRADICTED = RowsStatement(
    (message_events.c.channel_id, message_events.c.sequence, message_events.c.body),
    "SELECT given.channel_id, given.sequence FROM {given} JOIN message_events USING (channel_id, sequence)"
    " WHERE message_events.body <> given.body",
)
_key = idempotency_keys.c
_INSERT_KEYS = insert_rows(idempotency_keys, tuple(_key), changing=[_key.request_hash, _key.message_id])
_level = channel_levels.c
_SET_LEVELS = insert_rows(channel_levels, tuple(_level), changing=[_level.level])
_DROP_LEVELS = RowsStatement(
    [_level.user_id, _level.channel_id],
    "DELETE FROM channel_levels WHERE (user_id, channel_id) IN (SELECT user_id, channel_id FROM {given})",
)
_hour = quiet_hours.c
_SET_HOURS = insert_rows(quiet_hours, tuple(_hour), changing=[_hour.starts_at, _hour.ends_at, _hour.timezone])


_INSERT_CREATED = insert_rows(created, tuple(created.c))
_RAISE_COUNTERS = insert_rows(
    counters, tuple(counters.c), rising=[counters.c.sequence, counters.c.happened_at]
)
# A state of a channel that is not there yet is that of an event which is still to be read.
_NAMES = ", ".join(column.name for column in MESSAGE_COLUMNS)
_PUT_STATES = RowsStatement(
    MESSAGE_COLUMNS,
    f"INSERT INTO messages ({_NAMES}) SELECT {_NAMES} FROM {{given}}"
    " WHERE channel_id IN (SELECT channel_id FROM channels) ORDER BY row_number"
    " ON CONFLICT (message_id) DO UPDATE SET "
    + ", ".join(f"{c.name} = excluded.{c.name}" for c in MESSAGE_COLUMNS if not c.primary_key)
    + " WHERE excluded.version >= messages.version",
)


class Contradicted(Refusal):
    """The log holds two events under one number of a channel; the text says which."""


async def store(side: Side, chunk: Chunk, positions: Mapping[TopicPartition, int]) -> None:
    """Write a batch. Raises Unavailable (then nothing is written), CommitUnknown, or Contradicted."""
    async with side.database.writing() as connection:
        if not side.embedded:
            # What a crash of the server takes, it takes together with the offsets.
            await connection.execute(text("SET LOCAL synchronous_commit = off"))
        if positions:
            noted = [(place.topic, place.partition, at) for place, at in sorted(positions.items())]
            await _NOTE_OFFSETS.execute(connection, noted)
        if chunk.problems:
            found = [(each.topic, each.partition, each.offset, each.reason) for each in chunk.problems]
            await _NOTE_PROBLEMS.execute(connection, found)
        if chunk.wishes:
            await _apply_wishes(connection, chunk.wishes)
        if chunk.counters:
            rows = [(channel_id, *numbers) for channel_id, numbers in sorted(chunk.counters.items())]
            await _RAISE_COUNTERS.execute(connection, rows)
        if chunk.bulk:
            await _copy(connection, chunk)
        else:
            await _insert(connection, chunk)


async def _copy(connection: AsyncConnection, chunk: Chunk) -> None:
    for table, columns, rows in (
        (message_events, tuple(message_events.c), chunk.events),
        (messages, MESSAGE_COLUMNS, chunk.messages),
        (idempotency_keys, tuple(idempotency_keys.c), chunk.keys),
        (touched, tuple(touched.c), list(chunk.touched)),
        (created, tuple(created.c), chunk.created),
    ):
        if rows:
            await copy_rows(connection, table, columns, rows)


async def _insert(connection: AsyncConnection, chunk: Chunk) -> None:
    if chunk.created:
        await _INSERT_CREATED.execute(connection, chunk.created)
    if chunk.messages:
        await _PUT_STATES.execute(connection, chunk.messages)
    if not chunk.events:
        return
    events = sorted(chunk.events, key=lambda row: (row[0], row[1]))
    await _INSERT_EVENTS.execute(connection, events)
    wrong = (await _CONTRADICTED.execute(connection, [(row[0], row[1], row[6]) for row in events])).first()
    if wrong is not None:
        raise Contradicted(f"channel {wrong[0]!r}: the log holds two different events {wrong[1]}")
    if chunk.touched:
        await _TOUCH.execute(connection, list(chunk.touched))
    if keys := _last_of_each(chunk.keys):
        await _INSERT_KEYS.execute(connection, keys)


def _last_of_each(keys: Rows) -> Rows:
    return list({row[:2]: row for row in keys}.values())


async def _apply_wishes(connection: AsyncConnection, events: Sequence[UsersEvent]) -> None:
    """Apply preferences, the last of each; what was read of the inbox is no table's of the write side."""
    levels: dict[tuple[str, str], str] = {}
    hours: dict[str, tuple[str, str, str] | None] = {}
    for event in events:
        if isinstance(event, UserChannelLevelSet):
            levels[event.payload.user_id, event.payload.channel_id] = event.payload.level
        elif isinstance(event, UserDoNotDisturbSet):
            wish = event.payload.do_not_disturb
            hours[event.payload.user_id] = None if wish is None else (wish.start, wish.end, wish.timezone)
    if to_set := [(*place, level) for place, level in levels.items() if level != DEFAULT_LEVEL]:
        await _SET_LEVELS.execute(connection, to_set)
    if to_drop := [place for place, level in levels.items() if level == DEFAULT_LEVEL]:
        await _DROP_LEVELS.execute(connection, to_drop)
    if quiet := [(user_id, *wish) for user_id, wish in hours.items() if wish is not None]:
        await _SET_HOURS.execute(connection, quiet)
    if loud := [user_id for user_id, wish in hours.items() if wish is None]:
        await connection.execute(delete(quiet_hours).where(_hour.user_id.in_(loud)))


async def noted_offsets(side: Side) -> dict[TopicPartition, int]:
    """Return the next offsets to read."""
    async with side.database.looking() as connection:
        rows = (await connection.execute(select(offsets))).all()
    return {TopicPartition(row.topic, row.partition): row.position for row in rows}


async def offsets_by_topic(side: Side) -> dict[str, list[int]]:
    """Return the same by topic, one a partition, in order."""
    found: dict[str, list[int]] = {}
    for place, at in sorted((await noted_offsets(side)).items()):
        found.setdefault(place.topic, []).append(at)
    return found


async def noted_problems(side: Side) -> list[Problem]:
    """Return the records that could not be read, in order."""
    query = select(problems).order_by(problems.c.topic, problems.c.partition, problems.c.at_offset)
    async with side.database.looking() as connection:
        rows = (await connection.execute(query)).all()
    return [
        Problem(topic=row.topic, partition=row.partition, offset=row.at_offset, reason=row.reason)
        for row in rows
    ]
