"""Ownership by name: held by one process at a time, and given up when that process dies.

On PostgreSQL it is an advisory lock on a connection of its own, and the owner does its work on that
very connection: an owner whose connection is gone can no longer touch a row. The server ends the
session of an owner that froze (`idle_session_timeout`). On SQLite it is a lock on a file beside the database.
"""

import fcntl
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.errors import translated_errors
from backbone.errors import SetupError

IDLE_SESSION_TIMEOUT_MS = 5_000
HEARTBEAT_S = 1.0


@asynccontextmanager
async def ownership(database: Database, name: str) -> AsyncIterator[AsyncConnection | None]:
    """Yield the owner's connection, or None when another process owns `name`. Raises Unavailable.

    An owner must use the connection at least every few seconds (HEARTBEAT_S), each time in a
    transaction of its own: `async with connection.begin()`.
    """
    owned = _owned_file if database.embedded else _owned_session
    async with owned(database, name) as connection:
        yield connection


@asynccontextmanager
async def _owned_session(database: Database, name: str) -> AsyncIterator[AsyncConnection | None]:
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    with translated_errors():
        async with database.engine.connect() as connection:
            try:
                async with connection.begin():
                    held = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
                    if held:
                        await connection.execute(
                            text(f"SET idle_session_timeout = {IDLE_SESSION_TIMEOUT_MS}")
                        )
                yield connection if held else None
            finally:
                # The session holds the lock and an odd timeout: it must not go back to the pool.
                await connection.invalidate()


@asynccontextmanager
async def _owned_file(database: Database, name: str) -> AsyncIterator[AsyncConnection | None]:
    path = Path(f"{database.url.database}.{name.replace('/', '-')}.lock")
    try:
        file = path.open("w")  # noqa: ASYNC230 - an empty file, opened once
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from error
    with file, translated_errors():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        async with database.engine.connect() as connection:
            await connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")
            yield connection
