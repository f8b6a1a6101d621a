"""Pages of rows that end by number or by size: of what does not fit, no text is read or sent.

Guarantees: a page holds a row where there is one, and says whether there are more behind it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, RowMapping, Select, case, func
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

# About how much text a page holds; its last row may go beyond.
PAGE_MAX_BYTES = 1024 * 1024

_FITS = "fits"


class Rows(NamedTuple):
    """A page's rows, and whether there are more behind them."""

    rows: Sequence[RowMapping]
    more: bool


def fitting(
    columns: Sequence[ColumnElement[Any]], texts: Sequence[ColumnElement[Any]], order: ColumnElement[Any]
) -> Sequence[ColumnElement[Any]]:
    """Return the columns for `read_page`: those of `texts`, which are among them, are NULL past the limit.

    `order` is the query's and has no ties. Made once a list, not once a request: that takes a while.
    """
    size_bytes: Any = sum(func.coalesce(_SizeBytes(text), 0) for text in texts)
    before_bytes = func.sum(size_bytes).over(order_by=order, rows=(None, -1))
    fits = func.coalesce(before_bytes, 0) < PAGE_MAX_BYTES
    names = {text.key for text in texts}
    cut = (case((fits, each)).label(each.key) if each.key in names else each for each in columns)
    return (*cut, fits.label(_FITS))


async def read_page(connection: AsyncConnection, query: Select[Any], limit: int) -> Rows:
    """Return at most `limit` of the rows of a query that selects `fitting` columns, in their order."""
    found = (await connection.execute(query.limit(limit + 1))).mappings().all()
    rows = [row for row in found[:limit] if row[_FITS]]
    return Rows(rows, len(rows) < len(found))


class _SizeBytes(FunctionElement[int]):
    """How many bytes a text has; PostgreSQL knows it without reading the text."""

    type = Integer()
    inherit_cache = True


@compiles(_SizeBytes)
def _octets(element: _SizeBytes, compiler: Any, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(_SizeBytes, "sqlite")
def _length_of_blob(element: _SizeBytes, compiler: Any, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"
