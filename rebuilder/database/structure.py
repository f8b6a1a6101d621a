"""Indices and constraints of the tables that are loaded: taken away for the load, made again after it.

What they are is asked of the database that the migrations made, so a later migration's are known, too.
"""

import asyncio

from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import idempotency_keys, message_events, messages
from rebuilder.database.tables import structure, touched

_LOADED = (messages, message_events, idempotency_keys, touched)
# Names in definitions are bare where the table is in the first schema of the search path.
_CONSTRAINTS = text(
    "SELECT c.conrelid::regclass::text AS table_name, quote_ident(c.conname) AS name,"
    " c.contype = 'f' AS is_foreign, pg_get_constraintdef(c.oid) AS definition FROM pg_constraint c"
    " JOIN pg_namespace n ON n.oid = c.connamespace AND n.nspname = current_schema()"
    " WHERE c.contype IN ('p', 'u', 'f') AND c.conrelid::regclass::text = ANY(:names)"
    " ORDER BY is_foreign, c.oid"
)
_INDICES = text(
    "SELECT tablename AS table_name, quote_ident(indexname) AS name, indexdef AS definition FROM pg_indexes"
    " WHERE schemaname = current_schema() AND tablename = ANY(:names)"
)
_SQLITE_INDICES = text(
    "SELECT tbl_name AS table_name, name, sql AS definition FROM sqlite_master"
    " WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('messages', 'idempotency_keys')"
)


async def strip(connection: AsyncConnection, *, embedded: bool) -> None:
    """Take away what the load does not need, and note it; on SQLite that is little."""
    taken = await (_of_sqlite if embedded else _of_postgres)(connection)
    for drop, _, _ in reversed(taken):
        await connection.execute(text(drop))
    rows = [
        {"ordinal": number, "table_name": name, "statement": make}
        for number, (_, name, make) in enumerate(taken)
    ]
    if rows:
        await connection.execute(insert(structure), rows)


async def _of_sqlite(connection: AsyncConnection) -> list[tuple[str, str, str]]:
    rows = (await connection.execute(_SQLITE_INDICES)).all()
    return [(f'DROP INDEX "{row.name}"', row.table_name, row.definition) for row in rows]


async def _of_postgres(connection: AsyncConnection) -> list[tuple[str, str, str]]:
    names = {"names": [table.name for table in _LOADED]}
    made: list[tuple[str, str, str]] = []
    foreign: list[tuple[str, str, str]] = []
    for row in (await connection.execute(_CONSTRAINTS, names)).all():
        table = row.table_name
        make = f"ALTER TABLE {table} ADD CONSTRAINT {row.name} {row.definition}"
        drop = f"ALTER TABLE {table} DROP CONSTRAINT {row.name}"
        (foreign if row.is_foreign else made).append((drop, table, make))
        await connection.execute(text(drop))
    # What is left was no constraint's own.
    for row in (await connection.execute(_INDICES, names)).all():
        await connection.execute(text(f"DROP INDEX {row.name}"))
        made.append(("SELECT 1", row.table_name, row.definition))
    return [("SELECT 1", table, make) for _, table, make in (*made, *foreign)]


async def restore(database: Database, *, foreign: bool) -> None:
    """Make again what was taken away: what points to other tables, or all else.

    Tables have their turn side by side. Each statement is noted as done in its own transaction. Raises
    IntegrityError where rows are twice there.
    """
    async with database.looking() as connection:
        rows = (await connection.execute(select(structure).order_by(structure.c.ordinal))).all()
    by_table: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        if ("FOREIGN KEY" in row.statement) == foreign:
            by_table.setdefault(row.table_name, []).append((row.ordinal, row.statement))
    if database.embedded:
        for statements in by_table.values():
            await _make(database, statements)
        return
    async with asyncio.TaskGroup() as tasks:
        for statements in by_table.values():
            tasks.create_task(_make(database, statements))


def detail_of(group: BaseExceptionGroup[IntegrityError]) -> str:
    """Return what rows are twice there, in the database's words."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(getattr(error, "orig", error)).split()).rsplit(">: ", 1)[-1]


async def _make(database: Database, statements: list[tuple[int, str]]) -> None:
    for ordinal, statement in statements:
        async with database.writing() as connection:
            if not database.embedded:
                await connection.execute(text("SET LOCAL maintenance_work_mem = '128MB'"))
                await connection.execute(text("SET LOCAL synchronous_commit = off"))
            await connection.exec_driver_sql(statement)
            await connection.execute(delete(structure).where(structure.c.ordinal == ordinal))
