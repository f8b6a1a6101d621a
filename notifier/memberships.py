"""Who was in which channel at which of its events, as `channels.changed` tells it.

Guarantees: an event that is applied again changes nothing; what is asked about a moment has one answer,
however much is known of later ones.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import RowsStatement, insert_rows
from backbone.database.tables import memberships
from schemas.events import ChannelCreated, ChannelMemberAdded, ChannelMemberRemoved, ChannelsEvent

_columns = memberships.c
_KEY = (_columns.channel_id, _columns.user_id, _columns.sequence)
_INSERT = insert_rows(memberships, (*_KEY, _columns.present), changing=(_columns.present,))
# The last thing that happened to each of these before the event of this number.
_PRESENT = RowsStatement(
    _KEY,
    "SELECT given.channel_id, given.user_id, given.sequence FROM {given} WHERE ("
    "SELECT m.present FROM memberships m WHERE m.channel_id = given.channel_id"
    " AND m.user_id = given.user_id AND m.sequence < given.sequence ORDER BY m.sequence DESC LIMIT 1)",
)


class Place(NamedTuple):
    """A user, as seen by an event of a channel."""

    channel_id: str
    user_id: str
    sequence: int


async def remember(connection: AsyncConnection, events: Iterable[ChannelsEvent]) -> None:
    """Keep what the events say of who came and went."""
    rows = {place: present for event in events if (found := _change(event)) for place, present in (found,)}
    if rows:
        await _INSERT.execute(connection, [(*place, rows[place]) for place in sorted(rows)])


async def present(connection: AsyncConnection, places: Collection[Place]) -> frozenset[Place]:
    """Return those of the places whose user was in the channel when the event came."""
    if not places:
        return frozenset()
    return frozenset(Place(*row) for row in await _PRESENT.execute(connection, sorted(places)))


async def members_at(
    connection: AsyncConnection, channel_id: str, sequence: int, after: str, limit: int
) -> list[str]:
    """Return members of the channel at an event, `limit` at most, behind `after` in the database's order."""
    newest_first = func.row_number().over(partition_by=_columns.user_id, order_by=_columns.sequence.desc())
    changes = (
        select(_columns.user_id, _columns.present, newest_first.label("number"))
        .where(_columns.channel_id == channel_id, _columns.user_id > after, _columns.sequence < sequence)
        .subquery()
    )
    query = (
        select(changes.c.user_id)
        .where(changes.c.number == 1, changes.c.present)
        .order_by(changes.c.user_id)
        .limit(limit)
    )
    return list((await connection.execute(query)).scalars())


def _change(event: ChannelsEvent) -> tuple[Place, bool] | None:
    """Return whom the event let in or out; a change of role does neither."""
    match event:
        case ChannelCreated():
            return Place(event.payload.channel_id, event.payload.created_by, event.sequence), True
        case ChannelMemberAdded():
            return Place(event.payload.channel_id, event.payload.user_id, event.sequence), True
        case ChannelMemberRemoved():
            return Place(event.payload.channel_id, event.payload.user_id, event.sequence), False
        case _:
            return None
