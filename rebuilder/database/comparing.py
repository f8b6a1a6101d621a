"""The side tables beside the live ones: which rows differ, row by row and column by column.

Guarantees: what it looks at is one snapshot. While writes go on a channel is compared up to the event to
which the side has come; what live tables hold beyond is not different, only later. Whatever is the same up to
there is noted, so that it need not be looked at again when writes are held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.tables import (
    channel_levels,
    channel_members,
    channels,
    idempotency_keys,
    message_events,
    messages,
    quiet_hours,
)
from rebuilder.database.side import Beside

DIFFERENCES_NAMED = 20
ROWS_LOOKED_AT = 1_000
_FIXED = ("name", "private", "created_by", "created_at")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is not the same: in which table, under which key, and where it is missing if it is."""

    table: str
    key: tuple[str | int, ...]
    how: str

    def __str__(self) -> str:
        return f"{self.table} {'/'.join(map(str, self.key))}: {self.how}"


@dataclass(frozen=True)
class _Compared:
    """How a table is compared; `later` says which rows of either need not be there or the same yet."""

    table: Table
    columns: tuple[str, ...]
    later: str = "false"
    since_proven: str = ""
    """Narrows the rows to those that a comparison under held writes must look at."""


_HORIZON = "coalesce((SELECT h.last_sequence FROM {side}.channels h WHERE h.channel_id = %s), 0)"


_LIVE_COUNTER = "coalesce((SELECT n.last_sequence FROM {live}.channels n WHERE n.channel_id = %s), 0)"


def _beyond(channel: str, number: str) -> str:
    """Behind what the side has come to; a number that the live channel has not given is of no later event."""
    return f"{number} > {_HORIZON % channel} AND {number} <= {_LIVE_COUNTER % channel}"


# Events that came since a channel was proven, found by the primary key.
_MOVED = (
    "{schema}.channels c LEFT JOIN {side}.rebuild_proven p ON p.channel_id = c.channel_id"
    " JOIN {schema}.message_events e ON e.channel_id = c.channel_id AND e.sequence > coalesce(p.sequence, 0)"
    " WHERE c.last_sequence > coalesce(p.sequence, 0)"
)

_COMPARED = (
    _Compared(channels, _FIXED),
    _Compared(
        channel_members,
        ("role", "version"),
        # Who was removed has no row: any change beyond the horizon may be the reason.
        later="(SELECT l.last_sequence FROM {live}.channels l WHERE l.channel_id = coalesce(a.channel_id,"
        f" b.channel_id)) > {_HORIZON % 'coalesce(a.channel_id, b.channel_id)'}",
    ),
    _Compared(
        message_events,
        ("event_id", "event_type", "message_id", "timestamp", "body"),
        later=_beyond("a.channel_id", "a.sequence"),
        since_proven=f"SELECT e.* FROM {_MOVED}",
    ),
    _Compared(
        messages,
        (
            "channel_id", "author_id", "content", "mentions", "attachments", "parent_id", "sequence",
            "version", "created_at", "updated_at", "deleted_at", "deleted_by",
        ),
        later=_beyond("a.channel_id", "a.version"),
        since_proven="SELECT m.* FROM {schema}.messages m WHERE m.message_id IN"
        f" (SELECT e.message_id FROM {_MOVED})",
    ),
    _Compared(
        idempotency_keys,
        ("request_hash", "message_id"),
        later="EXISTS (SELECT 1 FROM {live}.messages m WHERE m.message_id = a.message_id"
        f" AND {_beyond('m.channel_id', 'm.sequence')})",
    ),
)  # fmt: skip
_PREFERENCES = (
    _Compared(channel_levels, ("level",)),
    _Compared(quiet_hours, ("starts_at", "ends_at", "timezone")),
)
_COUNTERS = _Compared(channels, ("last_sequence", "last_event_at"))


async def compare(beside: Beside, *, held: bool, record: bool = True) -> tuple[int, list[Difference]]:
    """Return how many rows differ, and the first of them.

    Without the `record` events are not looked at. With writes `held` everything must be the same: only what
    was not proven before is looked at.
    """
    every = [*_COMPARED, _COUNTERS, *_PREFERENCES] if held else list(_COMPARED)
    if held:
        # They are made of events, which are looked at.
        every = [each for each in every if each.table is not idempotency_keys]
        if not await _any_moved(beside):
            every = [each for each in every if not each.since_proven]
    if not record:
        every = [each for each in every if each.table is not message_events]
    number = 0
    named: list[Difference] = []
    for compared in every:
        if held and beside.connection.dialect.name == "postgresql":
            # Little moved since the proof, but the planner knows nothing of that: it would read all.
            by_key = "off" if compared.since_proven else "on"
            for way in ("hashjoin", "mergejoin"):
                await beside.connection.exec_driver_sql(f"SET LOCAL enable_{way} = {by_key}")
        count, found = await _differing(beside, compared, held=held)
        number += count
        named += found
    if not held:
        wrong = await _wrong_counters(beside)
        number += len(wrong)
        named += wrong
    return number, named[:DIFFERENCES_NAMED]


async def compare_wishes(beside: Beside) -> set[Difference]:
    """Return which preferences differ at this moment, a thousand at most of each kind."""
    found: set[Difference] = set()
    for compared in _PREFERENCES:
        _, differences = await _differing(beside, compared, held=False)
        found.update(differences)
    return found


async def _wrong_counters(beside: Beside) -> list[Difference]:
    """Return the live channels whose counter, or last time, is not that of their events."""
    events = f"{beside.live}.message_events e WHERE e.channel_id = c.channel_id"
    last = f"coalesce((SELECT max(e.sequence) FROM {events}), 0)"
    moment = f"(SELECT e.timestamp FROM {events} AND e.sequence = c.last_sequence)"
    without = f"SELECT h.channel_id FROM {beside.live}.missing_history h"
    rows = await _rows(
        beside.connection,
        f"SELECT c.channel_id FROM {beside.live}.channels c WHERE c.last_sequence < {last}"
        f" OR ((c.last_sequence > {last} OR c.last_event_at <> {moment}) AND c.channel_id NOT IN ({without}))"
        " ORDER BY c.channel_id",
    )
    how = "its counter is not that of its events"
    return [Difference(table="channels", key=tuple(row), how=how) for row in rows]


async def _any_moved(beside: Beside) -> bool:
    """Say whether a channel went on since it was proven, in either store."""
    for schema in (beside.live, beside.side):
        query = (
            f"SELECT 1 FROM {schema}.channels c LEFT JOIN {beside.side}.rebuild_proven p"
            " ON p.channel_id = c.channel_id WHERE c.last_sequence > coalesce(p.sequence, 0)"
        )
        if await _rows(beside.connection, query):
            return True
    return False


async def note_proven(beside: Beside) -> None:
    """Note up to which event the channels of both were found the same."""
    proven = f"{beside.side}.rebuild_proven"
    await beside.connection.execute(text(f"DELETE FROM {proven}"))
    both = f"{beside.side}.channels s JOIN {beside.live}.channels l ON l.channel_id = s.channel_id"
    lower = "CASE WHEN s.last_sequence < l.last_sequence THEN s.last_sequence ELSE l.last_sequence END"
    await beside.connection.execute(text(f"INSERT INTO {proven} SELECT s.channel_id, {lower} FROM {both}"))


async def lagging(beside: Beside) -> dict[str, int]:
    """Return the channels of which the live tables hold more events, and how many: a thousand at most."""
    query = (
        f"SELECT l.channel_id, l.last_sequence FROM {beside.live}.channels l"
        f" LEFT JOIN {beside.side}.channels s ON s.channel_id = l.channel_id"
        " WHERE l.last_sequence > coalesce(s.last_sequence, 0)"
    )
    return {str(row[0]): int(row[1]) for row in await _rows(beside.connection, query)}


async def persisting(beside: Beside, late: Mapping[str, int]) -> list[Difference]:
    """Return those of the channels which the side, that has caught up since, still has not reached."""
    still = await lagging(beside)
    return [
        Difference(table="channels", key=(channel_id,), how=f"the log lacks events up to {number:,}")
        for channel_id, number in late.items()
        if channel_id in still and await _reached(beside, channel_id) < number
    ]


async def _reached(beside: Beside, channel_id: str) -> int:
    query = text(f"SELECT last_sequence FROM {beside.side}.channels WHERE channel_id = :channel_id")
    return int(await beside.connection.scalar(query, {"channel_id": channel_id}) or 0)


async def _differing(beside: Beside, compared: _Compared, *, held: bool) -> tuple[int, Sequence[Difference]]:
    names = {"live": beside.live, "side": beside.side}
    sources = [_source(compared, names, schema, held=held) for schema in (beside.live, beside.side)]
    keys = [column.name for column in compared.table.primary_key.columns]
    on = " AND ".join(f"a.{key} = b.{key}" for key in keys)
    key_list = ", ".join(f"a.{key}" for key in keys)
    changed = " OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in compared.columns)
    later = "false" if held else compared.later.format(**names)
    live, side = sources
    # SQLite learned FULL JOIN and IS DISTINCT FROM later than it is found on machines.
    queries = (
        ("is not the same", f"{live} a JOIN {side} b ON {on} WHERE ({changed})"),
        ("is live, and not in the log", f"{live} a LEFT JOIN {side} b ON {on} WHERE b.{keys[0]} IS NULL"),
        ("is in the log, and not live", f"{side} a LEFT JOIN {live} b ON {on} WHERE b.{keys[0]} IS NULL"),
    )
    number = 0
    named: list[Difference] = []
    for how, query in queries:
        condition = f"{query} AND NOT ({later})"
        in_order = f"SELECT {key_list} FROM {condition} ORDER BY {key_list}"
        rows = await _rows(beside.connection, in_order)
        number += len(rows)
        if len(rows) == ROWS_LOOKED_AT:
            (counted,) = await _rows(beside.connection, f"SELECT count(*) FROM {condition}")
            number += int(counted[0]) - len(rows)
        named += [Difference(table=str(compared.table.name), key=tuple(row), how=how) for row in rows]
    return number, named


def _source(compared: _Compared, names: dict[str, str], schema: str, *, held: bool) -> str:
    if held and compared.since_proven:
        return f"({compared.since_proven.format(schema=schema, **names)})"
    return f"{schema}.{compared.table.name}"


async def _rows(connection: AsyncConnection, query: str) -> Sequence[tuple[str | int, ...]]:
    """Return the first rows."""
    if connection.dialect.name == "sqlite":
        query = query.replace("IS DISTINCT FROM", "IS NOT")
    return [tuple(row) for row in (await connection.exec_driver_sql(f"{query} LIMIT {ROWS_LOOKED_AT}")).all()]
