"""What all queries share: the reader's role beside each channel, and an order that every database has.

Guarantees: whether a channel may be read is asked in the statement that reads it.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.tables import channel_members, channels
from backend.domain.access import readable

# The reader's membership: not there for those outside.
reader = channel_members.alias("reader")
READABLE: ColumnElement[bool] = readable(channels.c.private, reader.c.role)


def with_role(source: FromClause, reader_id: str | None) -> FromClause:
    """Return `source`, which holds channels, joined with the reader's membership of each; None is nobody."""
    same = (reader.c.channel_id == channels.c.channel_id) & (reader.c.user_id == reader_id)
    return source.outerjoin(reader, same)


def in_order(connection: AsyncConnection, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column to be compared and sorted by code points, whatever the database's own order is."""
    return column.collate("C") if connection.dialect.name == "postgresql" else column
