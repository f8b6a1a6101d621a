"""What a user has not read, counted from the messages themselves: no counter can go wrong.

Guarantees: counting looks at the newest EVENTS_COUNTED_MAX events of a channel and no further, so that a
page costs the same however much there is.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, and_, case, func, or_, select, true, union
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import channel_members, channel_reads, channels, messages
from backbone.joins import READABLE, in_order, reader, with_role
from backend.queries.pages import Page, first_of
from schemas.channels import Unread
from schemas.messages import MENTION_CHANNEL

EVENTS_COUNTED_MAX = 10_000

_message = messages.c


async def list_unread(database: Database, user_id: str, after: str | None, limit: int) -> Page[str, Unread]:
    """Return the counts of at most `limit` channels behind `after`, by code points.

    They are the channels that the user is in, or has marked as read and may still read.
    """
    async with database.reading() as connection:
        page = _channels_of(connection, user_id, after, limit + 1)
        unread_ones = and_(
            _message.channel_id == page.c.channel_id,
            _message.sequence > page.c.counted_after,
            _message.deleted_at.is_(None),
            _message.author_id != user_id,
        )
        mentioning = _mentions(connection, user_id, page)
        query = select(
            page.c.channel_id,
            page.c.read_sequence,
            page.c.last_sequence,
            _count(page, unread_ones).label("unread"),
            _count(page, unread_ones & mentioning).label("mentions"),
        ).order_by(in_order(connection, page.c.channel_id))
        rows = (await connection.execute(query)).mappings()
        found = [(row["channel_id"], Unread(**row)) for row in rows]
    return first_of(found, limit)


def _channels_of(connection: AsyncConnection, user_id: str, after: str | None, count: int) -> FromClause:
    """Return the page's channels: they are cut out first, so that only their messages are counted."""
    candidates = union(
        select(channel_members.c.channel_id).where(channel_members.c.user_id == user_id),
        select(channel_reads.c.channel_id).where(channel_reads.c.user_id == user_id),
    ).subquery()
    marks = channel_reads.c
    source = with_role(
        channels.join(candidates, candidates.c.channel_id == channels.c.channel_id), user_id
    ).outerjoin(channel_reads, and_(marks.channel_id == channels.c.channel_id, marks.user_id == user_id))
    key = in_order(connection, channels.c.channel_id)
    read_sequence = func.coalesce(marks.sequence, 0)
    far_enough = channels.c.last_sequence - EVENTS_COUNTED_MAX
    return (
        select(
            channels.c.channel_id,
            channels.c.last_sequence,
            read_sequence.label("read_sequence"),
            # One bound, not two: SQLite begins at one of them and steps over what the other leaves out.
            case((read_sequence > far_enough, read_sequence), else_=far_enough).label("counted_after"),
            reader.c.role,
        )
        .select_from(source)
        .where(READABLE, true() if after is None else key > after)
        .order_by(key)
        .limit(count)
        .subquery("page")
    )


def _count(page: FromClause, condition: ColumnElement[bool]) -> Any:
    return select(func.count()).select_from(messages).where(condition).correlate(page).scalar_subquery()


def _mentions(connection: AsyncConnection, user_id: str, page: FromClause) -> ColumnElement[bool]:
    """Return whether a message mentions the user, by its id or as one of the channel's members."""
    if connection.dialect.name == "postgresql":
        names = func.json_array_elements_text(sql_cast(_message.mentions, JSON)).table_valued("value")
    else:
        names = func.json_each(_message.mentions).table_valued("value")
    name = sql_cast(names.c.value, Text)
    meant = or_(name == user_id, and_(name == MENTION_CHANNEL, page.c.role.is_not(None)))
    mentioned = select(1).select_from(names).where(meant).correlate(messages, page).exists()
    # Most messages mention nobody: that is seen without reading the list.
    return and_(_message.mentions != "[]", mentioned)
