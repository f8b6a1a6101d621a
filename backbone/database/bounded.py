"""Pages of rows that end by number or by size: what does not fit is not even read.

Guarantees: a page holds a row where there is one; it says whether there are more.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, LargeBinary, RowMapping, Select, func, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncConnection

# About how much text a page holds; the last row may exceed it.
PAGE_MAX_BYTES = 1024 * 1024


class Rows(NamedTuple):
    """A page's rows, and whether there are more behind them."""

    rows: Sequence[RowMapping]
    more: bool


async def read_bounded(
    connection: AsyncConnection,
    query: Select[Any],
    key: Column[int],
    size: ColumnElement[int],
    limit: int,
    *,
    descending: bool = False,
) -> Rows:
    """Return the first rows of `query` by `key`, which is unique in it: at most `limit`, and not too large.

    `size` is a row's, in bytes; the columns of `query` have names of their own, `key` among them.
    """
    order = key.desc() if descending else key
    candidates = query.add_columns(size.label("size_bytes")).order_by(order).limit(limit + 1).subquery()
    place = candidates.c[key.name].desc() if descending else candidates.c[key.name]
    before_bytes = func.sum(candidates.c.size_bytes).over(order_by=place) - candidates.c.size_bytes
    counted = select(
        candidates, before_bytes.label("before_bytes"), func.count().over().label("candidates")
    ).subquery()
    fitting = select(counted).where(counted.c.before_bytes < PAGE_MAX_BYTES)
    place = counted.c[key.name].desc() if descending else counted.c[key.name]
    rows = (await connection.execute(fitting.order_by(place).limit(limit))).mappings().all()
    return Rows(rows, bool(rows) and rows[0]["candidates"] > len(rows))


def size_of(connection: AsyncConnection, text: ColumnElement[Any]) -> ColumnElement[int]:
    """Return how many bytes a text has, 0 for NULL; PostgreSQL knows it without reading the text."""
    if connection.dialect.name == "postgresql":
        return func.coalesce(func.octet_length(text), 0)
    return func.coalesce(func.length(sql_cast(text, LargeBinary)), 0)
