"""The swap: the side tables in place of the live ones, in one transaction in which nobody writes.

Guarantees: whoever is killed when, the live tables are the old ones or the new ones, whole. What is not the
log's (the outbox, the inbox, what was read) stays as it is. Writes wait HELD_MAX_S at most, and then go on.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.errors import translated_errors
from backbone.database.tables import channel_reads
from backbone.errors import RolledBack, Unavailable
from rebuilder.database.side import Beside, Side
from rebuilder.database.tables import REBUILT

HELD_MAX_S = 5.0
# Less than the server's `deadlock_timeout`: it is the swap that gives way, not who writes.
_LOCK_TIMEOUT_MS = 800
_LOCK_TRIES = 15
_LOCK_PAUSE_S = 0.3
_LOCK_NOT_AVAILABLE = "55P03"
_POINTING = text(
    "SELECT c.conrelid::regclass::text AS table_name, quote_ident(c.conname) AS name,"
    " pg_get_constraintdef(c.oid) AS definition"
    " FROM pg_constraint c WHERE c.contype = 'f' AND c.confrelid = CAST(:channels AS regclass)"
    " AND c.conrelid = CAST(:reads AS regclass)"
)


class InUse(Unavailable):
    """Others hold the live tables all the time."""

    def __init__(self) -> None:
        super().__init__("tables", "others hold them all the time; try again, with --resume")


@asynccontextmanager
async def writes_held(live: Database, side: Side) -> AsyncIterator[Beside]:
    """A transaction on the live tables in which nobody else writes, nor, on PostgreSQL, reads.

    Raises InUse where others leave no room for it, and Unavailable.
    """
    if live.embedded:
        async with _only_writer(live) as connection:
            yield Beside(connection, "main", "side")
        return
    for _ in range(_LOCK_TRIES):
        async with live.engine.connect() as connection:
            with translated_errors():
                beside = await _locked(connection, side)
                if beside is not None:
                    yield beside
                    await connection.commit()
                    return
        await asyncio.sleep(_LOCK_PAUSE_S * random.uniform(0.5, 1.0))
    raise InUse


@asynccontextmanager
async def _only_writer(live: Database) -> AsyncIterator[AsyncConnection]:
    with translated_errors():
        async with live.engine.connect() as connection:
            try:
                await connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")
                async with connection.begin():
                    yield connection
            finally:
                # The side file may be attached to it, which nobody else expects.
                await connection.invalidate()


async def _locked(connection: AsyncConnection, side: Side) -> Beside | None:
    schema = str(await connection.scalar(text("SELECT current_schema()")))
    beside = Beside(connection, f'"{schema}"', f'"{side.name}"')
    names = ", ".join(f"{beside.live}.{table.name}" for table in (*REBUILT, channel_reads))
    await connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
    try:
        await connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
    except Exception as error:
        if _is_about_locks(error):
            await connection.rollback()
            return None
        raise
    return beside


def _is_about_locks(error: Exception) -> bool:
    driver_error = getattr(error, "orig", None)
    sqlstate = getattr(driver_error, "sqlstate", None)
    return isinstance(error, RolledBack) or sqlstate in (_LOCK_NOT_AVAILABLE, "40P01")


async def attach(beside: Beside, side: Side) -> None:
    """On SQLite: bring the side file into reach, once nothing more is written into it."""
    if side.embedded:
        quoted = side.name.replace("'", "''")
        await beside.connection.exec_driver_sql(f"ATTACH DATABASE '{quoted}' AS side")


async def keep_tombstones(beside: Beside) -> None:
    """Take over whose state was taken out of the log's topic: no event tells of that."""
    messages = f"{beside.side}.messages"
    await beside.connection.exec_driver_sql(
        f"UPDATE {messages} SET tombstoned_at = l.tombstoned_at FROM {beside.live}.messages l"
        " WHERE l.message_id = messages.message_id AND l.tombstoned_at IS NOT NULL"
        " AND messages.deleted_at IS NOT NULL"
    )


async def exchange(beside: Beside, side: Side) -> None:
    """Put the side tables in place of the live ones; commits nothing."""
    if side.embedded:
        await _exchange_rows(beside)
    else:
        await _exchange_tables(beside, side)


async def _exchange_rows(beside: Beside) -> None:
    connection = beside.connection
    # What points to a channel does so again at the end.
    await connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    for table in reversed(REBUILT):
        await connection.exec_driver_sql(f"DELETE FROM main.{table.name}")
    for table in REBUILT:
        names = ", ".join(column.name for column in table.columns)
        await connection.exec_driver_sql(
            f"INSERT INTO main.{table.name} ({names}) SELECT {names} FROM side.{table.name}"
        )
    await connection.exec_driver_sql(_without_channel("main"))


async def _exchange_tables(beside: Beside, side: Side) -> None:
    connection = beside.connection
    reads = f"{beside.live}.{channel_reads.name}"
    pointing = (
        await connection.execute(_POINTING, {"channels": f"{beside.live}.channels", "reads": reads})
    ).all()
    for each in pointing:
        await connection.exec_driver_sql(f"ALTER TABLE {reads} DROP CONSTRAINT {each.name}")
    before = f'"{side.name}_before"'
    await connection.exec_driver_sql(f"CREATE SCHEMA {before}")
    for table in REBUILT:
        await connection.exec_driver_sql(f"ALTER TABLE {beside.live}.{table.name} SET SCHEMA {before}")
        await connection.exec_driver_sql(f"ALTER TABLE {beside.side}.{table.name} SET SCHEMA {beside.live}")
        await connection.exec_driver_sql(f"ALTER TABLE {before}.{table.name} SET SCHEMA {beside.side}")
    await connection.exec_driver_sql(f"DROP SCHEMA {before}")
    await connection.exec_driver_sql(_without_channel(beside.live))
    for each in pointing:
        # Bare names are found by the search path, whose first schema is the live one.
        await connection.exec_driver_sql(
            f"ALTER TABLE {reads} ADD CONSTRAINT {each.name} {_bare(each.definition)}"
        )
    await connection.exec_driver_sql(f"UPDATE {beside.side}.rebuild_run SET phase = 'swapped'")


def _bare(definition: str) -> str:
    return definition.replace("REFERENCES public.", "REFERENCES ")


def _without_channel(schema: str) -> str:
    return (
        f"DELETE FROM {schema}.{channel_reads.name} WHERE channel_id NOT IN"
        f" (SELECT channel_id FROM {schema}.channels)"
    )
