"""Databases of a test's own: files as they are, new ones on the real server, dropped when the test ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
from sqlalchemy.engine import make_url

from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.settings import Settings


@asynccontextmanager
async def own_database(settings: Settings, name: str) -> AsyncIterator[Settings]:
    """Yield the settings, with a fresh database where they name the shared server."""
    if settings.database_url.startswith("sqlite"):
        yield settings
        return
    url = make_url(settings.database_url)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
        try:
            own = url.set(database=name).render_as_string(hide_password=False)
            yield replace(settings, database_url=own)
        finally:
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@asynccontextmanager
async def migrated_database(settings: Settings, name: str) -> AsyncIterator[Database]:
    """Open a database of the test's own, with its tables, all empty."""
    async with own_database(settings, name) as own:
        database = Database(own.database_url)
        try:
            await migrate(database)
            yield database
        finally:
            await database.close()
