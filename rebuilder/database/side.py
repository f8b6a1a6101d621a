"""The side store: the same tables beside the live ones, in a schema or (SQLite) a file of their own.

Guarantees: nothing here touches a live table; a schema or file that no rebuild made is never dropped.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import MetaData, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.errors import SetupError
from rebuilder.database import tables
from rebuilder.database.structure import strip

# An index over everything takes longer than any request may.
STATEMENT_TIMEOUT_S = 3_600.0
REHEARSAL = "maeari_rehearsal"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_FILES = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Run:
    """What a side store says of the rebuild that fills it."""

    source: str
    phase: str
    skip_poison: bool


@dataclass(frozen=True)
class Side:
    """A side store; bare names of tables in `database` are its own."""

    database: Database
    name: str
    embedded: bool

    async def run(self) -> Run:
        """Return what is rebuilt here."""
        async with self.database.looking() as connection:
            return Run(*(await connection.execute(select(tables.runs))).one())

    async def enter(self, phase: str) -> None:
        """Note that the phase before is done."""
        async with self.database.writing() as connection:
            await connection.execute(update(tables.runs).values(phase=phase))


def side_name(live: Database, name: str) -> str:
    """Return the name under which people find the side store. Raises SetupError for a bad one."""
    if not _NAME.fullmatch(name) or name.startswith("pg_") or name in ("public", "information_schema"):
        raise SetupError(
            f"--into {name!r}: give a name of its own, of a-z, 0-9 and _, such as maeari_rebuild"
        )
    return f"{live.url.database}.{name}" if live.embedded else name


def refuse_rehearsals(name: str) -> None:
    """Raise SetupError where notifications are rebuilt in that side store: neither knows of the other."""
    if name == REHEARSAL:
        raise SetupError(f"--into {name!r} is where notifications are rebuilt: give another name")


@asynccontextmanager
async def open_side(live: Database, name: str) -> AsyncIterator[Side]:
    """Connect to the side store, which need not be there yet, for as long as the block lasts."""
    named = side_name(live, name)
    url = live.url.set(database=named) if live.embedded else live.url
    database = Database(
        url.render_as_string(hide_password=False),
        schema=None if live.embedded else name,
        statement_timeout_s=STATEMENT_TIMEOUT_S,
    )
    try:
        yield Side(database, named, live.embedded)
    finally:
        await database.close()


async def found(live: Database, side: Side) -> bool:
    """Say whether a rebuild's side store is there. Raises SetupError where the name is another's."""
    if side.embedded:
        if not await asyncio.to_thread(Path(side.name).exists):
            return False
        query = text("SELECT count(*), coalesce(sum(name = 'rebuild_run'), 0) FROM sqlite_master")
        async with side.database.looking() as connection:
            there, ours = (await connection.execute(query)).one()
        there = bool(there)
    else:
        schema = text("SELECT count(*) FROM pg_namespace WHERE nspname = :name")
        run = text("SELECT count(*) FROM pg_tables WHERE schemaname = :name AND tablename = 'rebuild_run'")
        async with live.looking() as connection:
            there = bool(await connection.scalar(schema, {"name": side.name}))
            ours = await connection.scalar(run, {"name": side.name})
    if there and not ours:
        raise SetupError(f"--into: {side.name} is there already, and no rebuild made it: give another name")
    return bool(there)


async def make_side(
    live: Database, side: Side, source: str, skip_poison: bool, *more: MetaData, stripped: bool = True
) -> None:
    """Make the tables, empty, and `more`; `stripped` of what would slow the load down."""
    await drop_side(live, side)
    own = (tables.own, *more)
    if not side.embedded:
        # In one transaction with the mark that it is a rebuild's: it is found whole, or not at all.
        async with live.writing() as connection:
            await connection.execute(text(f'CREATE SCHEMA "{side.name}"'))
            await connection.execute(text(f'SET LOCAL search_path = "{side.name}"'))
            for each in own:
                await connection.run_sync(each.create_all)
    else:
        async with side.database.writing() as connection:
            for each in own:
                await connection.run_sync(each.create_all)
    await migrate(side.database)
    async with side.database.writing() as connection:
        if stripped:
            await strip(connection, embedded=side.embedded)
        row = {"source": source, "phase": "load", "skip_poison": skip_poison}
        await connection.execute(insert(tables.runs).values(row))


async def drop_side(live: Database, side: Side) -> None:
    """Remove the side store with all that it holds, where a rebuild made it."""
    if not await found(live, side):
        return
    if side.embedded:
        await side.database.close()
        for ending in _FILES:
            await asyncio.to_thread(Path(side.name + ending).unlink, missing_ok=True)
        return
    async with live.writing() as connection:
        await connection.execute(text(f'DROP SCHEMA "{side.name}" CASCADE'))


@asynccontextmanager
async def beside(live: Database, side: Side) -> AsyncIterator["Beside"]:
    """A connection to the live tables from which the side ones are in reach, in no transaction yet."""
    async with live.engine.connect() as connection:
        if not side.embedded:
            schema = str(await connection.scalar(text("SELECT current_schema()")))
            await connection.rollback()
            yield Beside(connection, f'"{schema}"', f'"{side.name}"')
            return
        yield Beside(connection, "main", "side")


@dataclass(frozen=True)
class Beside:
    """A connection, and the names of the live schema and of the side one on it."""

    connection: AsyncConnection
    live: str
    side: str
