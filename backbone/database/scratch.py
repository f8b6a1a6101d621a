"""A database for a while: made empty beside another one, and dropped with all that it holds."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.errors import translated_errors


@asynccontextmanager
async def scratch_database(url: str, name: str) -> AsyncIterator[str]:
    """Make an empty database on the PostgreSQL server of `url`; yield its URL, and drop it after the block.

    It is called `name` and something random. Raises Unavailable, and SetupError where the user may not
    make databases.
    """
    server = Database(url)
    own = f"{name}_{secrets.token_hex(6)}"
    asked_for = False
    try:
        async with _administering(server) as connection:
            asked_for = True
            await connection.execute(text(f'CREATE DATABASE "{own}"'))
        yield server.url.set(database=own).render_as_string(hide_password=False)
    finally:
        try:
            # Even where making it was cut off: it may be there all the same.
            if asked_for:
                async with _administering(server) as connection:
                    # Whoever is still connected to it holds nothing that is worth keeping.
                    await connection.execute(text(f'DROP DATABASE IF EXISTS "{own}" WITH (FORCE)'))
        finally:
            await server.close()


@asynccontextmanager
async def _administering(server: Database) -> AsyncIterator[AsyncConnection]:
    """A connection outside of any transaction, as databases are made and dropped."""
    with translated_errors():
        async with server.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
