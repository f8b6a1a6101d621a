"""Channels and their members, for those for whom they exist."""

from typing import Any

from sqlalchemy import Column, ColumnElement, Select, select, true, union
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import channel_members, channels
from backbone.joins import READABLE, in_order, readable_channel, reader, with_role
from backend.domain.access import no_such_channel, require_channel
from backend.domain.state import ChannelState
from backend.queries.pages import Page, first_of
from backend.rows import CHANNEL_COLUMNS, channel_from_row
from schemas.channels import ChannelView, Membership, Role
from schemas.clock import format_ms


async def get_channel(database: Database, channel_id: str, reader_id: str | None) -> ChannelView:
    """Return the channel. Raises NotFound."""
    async with database.reading() as connection:
        return await require_readable(connection, channel_id, reader_id)


async def require_readable(
    connection: AsyncConnection, channel_id: str, reader_id: str | None
) -> ChannelView:
    """Return the channel. Raises NotFound where there is none for the reader."""
    query = _channels(reader_id).where(channels.c.channel_id == channel_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise no_such_channel()
    return view_of(require_channel(channel_from_row(row), row["role"]), row["role"])


async def list_channels(
    database: Database, reader_id: str | None, after: str | None, limit: int
) -> Page[str, ChannelView]:
    """Return at most `limit` of the channels that the reader may read, behind `after`, by code points."""
    # One more tells whether there is another page.
    count = limit + 1
    async with database.reading() as connection:
        # Private channels of others may be many: looking starts from those that can be readable.
        public = _first(connection, channels.c.channel_id, ~channels.c.private, after, count)
        own_ones = channel_members.c.user_id == (reader_id or "")
        own = _first(connection, channel_members.c.channel_id, own_ones, after, count)
        candidates = union(public, own).subquery()
        query = _channels(reader_id).where(
            READABLE, channels.c.channel_id.in_(select(candidates.c.channel_id))
        )
        query = query.order_by(in_order(connection, channels.c.channel_id)).limit(count)
        rows = (await connection.execute(query)).mappings()
        found = [(row["channel_id"], view_of(channel_from_row(row), row["role"])) for row in rows]
    return first_of(found, limit)


async def list_members(
    database: Database, channel_id: str, reader_id: str | None, after: str | None, limit: int
) -> Page[str, Membership]:
    """Return at most `limit` members behind `after`, by their ids' code points. Raises NotFound."""
    member = channel_members.c
    async with database.reading() as connection:
        key = in_order(connection, member.user_id)
        query = (
            select(member.user_id, member.role, member.version)
            .where(
                member.channel_id == readable_channel(channel_id, reader_id),
                true() if after is None else key > after,
            )
            .order_by(key)
            .limit(limit + 1)
        )
        rows = (await connection.execute(query)).all()
        if not rows:
            await require_readable(connection, channel_id, reader_id)
    found = [
        (user_id, Membership(channel_id=channel_id, user_id=user_id, role=role, version=version))
        for user_id, role, version in rows
    ]
    return first_of(found, limit)


def view_of(channel: ChannelState, role: Role | None) -> ChannelView:
    """Return a channel as someone with this role sees it."""
    return ChannelView(
        channel_id=channel.channel_id,
        name=channel.name,
        private=channel.private,
        created_by=channel.created_by,
        created_at=format_ms(channel.created_at),
        last_sequence=channel.last_sequence,
        role=role,
    )


def _first(
    connection: AsyncConnection, key: Column[str], which: ColumnElement[bool], after: str | None, count: int
) -> Select[tuple[str]]:
    """Return the first `count` ids behind `after` of the rows that fulfil `which`."""
    order = in_order(connection, key)
    behind = true() if after is None else order > after
    first = select(key).where(which, behind).order_by(order).limit(count).subquery()
    return select(first.c[key.name])


def _channels(reader_id: str | None) -> Select[Any]:
    return select(*CHANNEL_COLUMNS, reader.c.role).select_from(with_role(channels, reader_id))
