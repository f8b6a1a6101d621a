"""Many rows as one parameter: a batch is read or written by one statement, however many rows it has.

On PostgreSQL the columns travel as arrays and are unnested, on SQLite the rows as JSON. The text of a
statement does not depend on the number of rows: it is made once and prepared once. These statements
pass SQLAlchemy's compiler by, whose work for each of them would cost more than the database's.
"""

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Boolean, Column, CursorResult, Integer, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection

Row = Sequence[Any]

# The type of an array's elements; Integer covers its subclass for 64 bits.
_POSTGRES_TYPES: tuple[tuple[type[Any], str], ...] = (
    (Text, "text"),
    (Boolean, "boolean"),
    (Integer, "bigint"),
)

# What statements may say of either database, beside `{given}`.
_POSTGRES_WORDS = {"by_code_point": 'COLLATE "C"', "lock": "FOR NO KEY UPDATE OF"}
_SQLITE_WORDS = {"by_code_point": "", "lock": "-- the only writer; of"}


class RowsStatement:
    """A statement over a table `given` of rows with the named, typed columns, and `row_number` beside them.

    Its SQL says `{given}` where that table stands, `{by_code_point}` behind a column to sort by, and
    `{lock} TABLE` as its last words to lock what it reads.
    """

    def __init__(self, columns: Sequence[Column[Any]], sql: str) -> None:
        self._columns = columns
        self._sql = sql
        self._postgres = self.on_postgres(1)
        self._sqlite = sql.format(given=_of_json(columns), **_SQLITE_WORDS)

    @property
    def parameters(self) -> int:
        """How many parameters it has on PostgreSQL."""
        return len(self._columns)

    def on_postgres(self, first: int) -> str:
        """Return its text for PostgreSQL, with parameters that are numbered from `first` on."""
        return self._sql.format(given=_unnested(self._columns, first), **_POSTGRES_WORDS)

    async def execute(self, connection: AsyncConnection, rows: Collection[Row]) -> CursorResult[Any]:
        """Run it over the rows, of which there is one at least. Text with a NUL is refused."""
        if connection.dialect.name == "postgresql":
            return await connection.exec_driver_sql(self._postgres, tuple(_arrays(rows)))
        return await connection.exec_driver_sql(self._sqlite, (_json(rows),))


async def write_together(
    connection: AsyncConnection, writes: Sequence[tuple[RowsStatement, Collection[Row]]]
) -> None:
    """Run statements that write, those that have rows; on PostgreSQL as one, which saves all answers but one.

    There they see nothing of one another, so no two of them may write the same row.
    """
    writes = [(statement, rows) for statement, rows in writes if rows]
    if connection.dialect.name != "postgresql" or len(writes) < 2:
        for statement, rows in writes:
            await statement.execute(connection, rows)
        return
    text = _as_one(tuple(statement for statement, _ in writes))
    parameters = tuple(chain.from_iterable(_arrays(rows) for _, rows in writes))
    await connection.exec_driver_sql(text, parameters)


def insert_rows(
    table: Table,
    columns: Sequence[Column[Any]],
    changing: Sequence[Column[Any]] = (),
    rising: Sequence[Column[Any]] = (),
) -> RowsStatement:
    """Return the statement that inserts rows, in their order.

    Where the primary key is there, it sets the `changing` columns, and the `rising` ones where that
    raises them; with neither it raises IntegrityError.
    """
    names = ", ".join(column.name for column in columns)
    # SQLite reads ON CONFLICT behind a SELECT right only when that has a WHERE.
    sql = f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {{given}} WHERE true ORDER BY row_number"
    changes = [f"{column.name} = excluded.{column.name}" for column in changing]
    for column in rising:
        given = f"excluded.{column.name}"
        changes.append(f"{column.name} = CASE WHEN {given} > {column} THEN {given} ELSE {column} END")
    if changes:
        key = ", ".join(column.name for column in table.primary_key.columns)
        sql += f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(changes)}"
    return RowsStatement(columns, sql)


def _json(rows: Collection[Row]) -> str:
    text = json.dumps(list(rows))
    # SQLite would end a text at its NUL without a word; an escaped one, as in JSON within, is none.
    if r"\u0000" in text and any(isinstance(value, str) and "\0" in value for row in rows for value in row):
        raise ValueError("text with a NUL cannot be stored")
    return text


@lru_cache(maxsize=256)
def _as_one(statements: tuple[RowsStatement, ...]) -> str:
    """Return the text of all of them: WITH runs each to its end, and foreign keys are looked at after all."""
    *others, last = statements
    first, parts = 1, []
    for number, statement in enumerate(others):
        parts.append(f"write_{number} AS ({statement.on_postgres(first)})")
        first += statement.parameters
    return f"WITH {', '.join(parts)} {last.on_postgres(first)}"


def _arrays(rows: Collection[Row]) -> "map[list[Any]]":
    """Return the rows' columns."""
    return map(list, zip(*rows, strict=True))


def _unnested(columns: Sequence[Column[Any]], first: int) -> str:
    arrays = ", ".join(
        f"CAST(${number} AS {_postgres_type(column)}[])" for number, column in enumerate(columns, first)
    )
    names = ", ".join(f'"{column.name}"' for column in columns)
    return f"unnest({arrays}) WITH ORDINALITY AS given({names}, row_number)"


def _of_json(columns: Sequence[Column[Any]]) -> str:
    values = ", ".join(
        f"json_extract(value, '$[{place}]') AS \"{column.name}\"" for place, column in enumerate(columns)
    )
    return f"(SELECT {values}, key AS row_number FROM json_each(?)) AS given"


def _postgres_type(column: Column[Any]) -> str:
    return next(name for kind, name in _POSTGRES_TYPES if isinstance(column.type, kind))
