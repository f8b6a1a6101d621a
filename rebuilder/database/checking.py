"""What the record shows to be wrong: events that are twice there, or otherwise, or not at all."""

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import channels
from rebuilder.database.side import Side

GAPS_NAMED = 20

# Every way to be twice there; the first row of equals stays.
_TWICE = (
    "DELETE FROM message_events a USING message_events b WHERE a.channel_id = b.channel_id"
    " AND a.sequence = b.sequence AND a.body = b.body AND a.ctid > b.ctid",
    "DELETE FROM messages a USING messages b WHERE a.message_id = b.message_id"
    " AND (a.version < b.version OR (a.version = b.version AND a.ctid > b.ctid))",
    "DELETE FROM idempotency_keys a USING idempotency_keys b WHERE a.author_id = b.author_id"
    " AND a.key_hash = b.key_hash AND a.message_id = b.message_id AND a.ctid > b.ctid",
)
_CONTRADICTIONS = text(
    "SELECT channel_id, sequence FROM message_events GROUP BY channel_id, sequence HAVING count(*) > 1"
    " ORDER BY channel_id, sequence LIMIT 3"
)
# The numbers after an event (or after the beginning) that the record does not have.
_GAPS = text(
    "SELECT channel_id, first, last FROM ("
    " SELECT channel_id, sequence - 1 AS last,"
    " coalesce(lag(sequence) OVER (PARTITION BY channel_id ORDER BY sequence), 0) + 1 AS first"
    " FROM message_events WHERE channel_id IN"
    "  (SELECT id FROM rebuild_touched WHERE kind IN ('channel', 'members'))"
    ") AS steps WHERE last >= first ORDER BY channel_id, first LIMIT :limit"
)


async def without_repeats(side: Side) -> str | None:
    """Take away what a load in bulk brought twice; return what is left that contradicts itself."""
    async with side.database.writing() as connection:
        for statement in _TWICE:
            await connection.execute(text(statement))
    async with side.database.looking() as connection:
        rows = (await connection.execute(_CONTRADICTIONS)).all()
    if not rows:
        return None
    return "; ".join(f"channel {row.channel_id!r}: two different events {row.sequence}" for row in rows)


async def headless(side: Side) -> list[str]:
    """Return the first channels of which there are events and no creation."""
    query = text(
        "SELECT n.channel_id FROM rebuild_counters n LEFT JOIN channels c ON c.channel_id = n.channel_id"
        " WHERE c.channel_id IS NULL ORDER BY n.channel_id LIMIT :limit"
    )
    async with side.database.looking() as connection:
        found = await connection.scalars(query, {"limit": GAPS_NAMED})
    return [f"channel {channel_id!r}: its creation is missing" for channel_id in found]


async def gaps(side: Side) -> list[str]:
    """Return which events of which channels are missing, the first of them, for people."""
    async with side.database.looking() as connection:
        return await _gaps(connection)


async def _gaps(connection: AsyncConnection) -> list[str]:
    rows = (await connection.execute(_GAPS, {"limit": GAPS_NAMED})).all()
    return [f"channel {row.channel_id!r}: {_numbers(row.first, row.last)}" for row in rows]


def _numbers(first: int, last: int) -> str:
    return f"event {first:,} is missing" if first == last else f"events {first:,} to {last:,} are missing"


async def nothing_in(live: Database) -> bool:
    """Say whether a database holds no channel. Raises Unavailable."""
    async with live.looking() as connection:
        return (await connection.execute(select(channels.c.channel_id).limit(1))).first() is None
