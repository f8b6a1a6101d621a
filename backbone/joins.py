"""What all queries share: the reader's role, gates that only those who may read pass, one order.

Guarantees: whether a channel may be read is asked in the very statement that reads it.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, ScalarSelect, Select, Text, bindparam, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.access import readable
from backbone.database.tables import channel_members, channels, messages

# The reader's membership: not there for those outside.
reader = channel_members.alias("reader")
READABLE: ColumnElement[bool] = readable(channels.c.private, reader.c.role)
READER_ID = "reader_id"


def with_role(source: FromClause, reader_id: str | None) -> FromClause:
    """Return `source`, which holds channels, joined with the reader's membership of each; None is nobody."""
    # No user has an empty id. NULL would do as well, but SQLite then looks at every member of a channel.
    return _joined(source, literal(reader_id or ""))


def with_role_of(source: FromClause) -> FromClause:
    """Do the same for the reader whose id is given with the parameters, as READER_ID."""
    return _joined(source, bindparam(READER_ID, type_=Text))


def _joined(source: FromClause, reader_id: ColumnElement[str]) -> FromClause:
    same = (reader.c.channel_id == channels.c.channel_id) & (reader.c.user_id == reader_id)
    return source.outerjoin(reader, same)


def readable_channel(channel_id: str, reader_id: str | None) -> ScalarSelect[str]:
    """Return the id of a channel that the reader may read, else NULL.

    Nothing equals NULL: what is compared with it is not even looked for, so that no one outside can
    tell from the time that it takes how much there is.
    """
    query = select(channels.c.channel_id).select_from(with_role(channels, reader_id))
    return _gate(query.where(channels.c.channel_id == channel_id, READABLE))


def readable_message(message_id: str, reader_id: str | None) -> ScalarSelect[str]:
    """Return the id of a message, deleted or not, whose channel the reader may read, else NULL."""
    of_message = messages.join(channels, channels.c.channel_id == messages.c.channel_id)
    query = select(messages.c.message_id).select_from(with_role(of_message, reader_id))
    return _gate(query.where(messages.c.message_id == message_id, READABLE))


def _gate(query: Select[tuple[str]]) -> ScalarSelect[str]:
    # Not correlated with the query around it: it is asked once, before that.
    return query.correlate(None).scalar_subquery()


def in_order(connection: AsyncConnection, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column to be compared and sorted by code points, whatever the database's own order is."""
    return column.collate("C") if connection.dialect.name == "postgresql" else column
