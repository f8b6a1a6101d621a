"""Many rows as one parameter: a batch is read or written by one statement, however many rows it has.

On PostgreSQL the columns travel as arrays and are unnested, on SQLite the rows as JSON. The text of a
statement does not depend on the number of rows, so that it is prepared once.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    FromClause,
    Select,
    Table,
    bindparam,
    case,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

Row = Sequence[Any]


def table_of(
    connection: AsyncConnection, name: str, columns: Sequence[Column[Any]], rows: Collection[Row]
) -> FromClause:
    """Return a table `name` of the given rows, in their order, with columns named and typed as `columns`.

    It has one column more, `row_number`, which counts the rows.
    """
    if connection.dialect.name == "postgresql":
        arrays = [
            bindparam(
                f"{name}_{column.name}", [row[place] for row in rows], type_=ARRAY(column.type), unique=True
            )
            for place, column in enumerate(columns)
        ]
        return (
            func.unnest(*arrays)
            .table_valued(
                *(Column(column.name, column.type) for column in columns),
                with_ordinality="row_number",
                name=name,
                joins_implicitly=True,
            )
            .render_derived()
        )
    items = func.json_each(
        bindparam(f"{name}_rows", json.dumps([list(row) for row in rows]), unique=True)
    ).table_valued("key", "value")
    values = (
        func.json_extract(items.c.value, literal_column(f"'$[{place}]'"), type_=column.type).label(
            column.name
        )
        for place, column in enumerate(columns)
    )
    return select(*values, items.c.key.label("row_number")).subquery(name)


def one_of(connection: AsyncConnection, column: Column[Any], values: Iterable[Any]) -> Any:
    """Return the condition that the column has one of the values."""
    rows = [(value,) for value in values]
    given = table_of(connection, f"given_{column.name}", [column], rows)
    return column.in_(select(given.c[column.name]))


async def insert_rows(
    connection: AsyncConnection, table: Table, columns: Sequence[Column[Any]], rows: Collection[Row]
) -> None:
    """Insert the rows in their order, by one statement. Raises IntegrityError for one that is there."""
    if rows:
        await connection.execute(_insert(connection, table, columns, rows))


async def upsert_rows(
    connection: AsyncConnection,
    table: Table,
    columns: Sequence[Column[Any]],
    rows: Collection[Row],
    changing: Sequence[Column[Any]],
    rising: Sequence[Column[Any]] = (),
) -> None:
    """Insert the rows by one statement; where the primary key is there, set the `changing` columns.

    `rising` columns are set only where that raises them.
    """
    if not rows:
        return
    statement = _insert(connection, table, columns, rows)
    set_ = {column.name: statement.excluded[column.name] for column in changing}
    for column in rising:
        given = statement.excluded[column.name]
        set_[column.name] = case((given > column, given), else_=column)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=set_)
    )


def _insert(
    connection: AsyncConnection, table: Table, columns: Sequence[Column[Any]], rows: Collection[Row]
) -> PostgresInsert | SqliteInsert:
    given = table_of(connection, "given", columns, rows)
    # SQLite reads ON CONFLICT behind a SELECT right only when that has a WHERE.
    source: Select[Any] = (
        select(*(given.c[column.name] for column in columns)).where(true()).order_by(given.c.row_number)
    )
    insert = postgres_insert if connection.dialect.name == "postgresql" else sqlite_insert
    return insert(table).from_select([column.name for column in columns], source)
