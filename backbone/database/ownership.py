"""Ownership by name: held by one process at a time, and given up when that process dies.

On PostgreSQL it is an advisory lock on a connection of its own, and the owner does its work on that
very connection: an owner whose connection is gone can no longer touch a row, and gets no other one. The
server ends the session of an owner that froze: `idle_session_timeout`, or `tcp_user_timeout` when it was
being sent something. On SQLite it is a lock on a file beside the database.
"""

import asyncio
import fcntl
import hashlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database, make_folder
from backbone.database.errors import DEPENDENCY, translated_errors
from backbone.errors import SetupError, Unavailable

IDLE_SESSION_TIMEOUT_MS = 5_000
HEARTBEAT_S = 1.0

T = TypeVar("T")


@asynccontextmanager
async def ownership(database: Database, name: str) -> AsyncIterator[AsyncConnection | None]:
    """Yield the owner's connection, or None when another process owns `name`. Raises Unavailable.

    An owner must use the connection at least every few seconds (HEARTBEAT_S), each time within
    `async with as_owner(connection)`.
    """
    owned = _owned_file if database.embedded else _owned_session
    async with owned(database, name) as connection:
        yield connection


@asynccontextmanager
async def as_owner(connection: AsyncConnection) -> AsyncIterator[None]:
    """Statements of the owner: each commits by itself on PostgreSQL, which saves two answers of three.

    Raises Unavailable, for good once ownership was lost.
    """
    # SQLAlchemy would connect anew in silence, and that session would not hold the lock.
    if connection.invalidated:
        raise Unavailable(DEPENDENCY, "the session that held the lock was lost")
    with translated_errors():
        async with connection.begin():
            yield


async def while_owner(database: Database, connection: AsyncConnection, work: Coroutine[Any, Any, T]) -> T:
    """Do `work` that does not use the owner's connection, and keep that connection alive meanwhile.

    Raises Unavailable when ownership is lost before the work is done; the work is cancelled then.
    """
    if database.embedded:  # a lock on a file cannot be lost
        return await work
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait((working,), timeout=HEARTBEAT_S))[0]:
            # Used often enough, the connection is not taken for that of a process which froze.
            async with as_owner(connection):
                await connection.execute(text("SELECT 1"))
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    return working.result()


@asynccontextmanager
async def _owned_session(database: Database, name: str) -> AsyncIterator[AsyncConnection | None]:
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    with translated_errors():
        async with database.engine.connect() as connection:
            held = None
            try:
                async with connection.begin():
                    held = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
                    if held:
                        await connection.execute(
                            text(f"SET idle_session_timeout = {IDLE_SESSION_TIMEOUT_MS}")
                        )
                if held:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection if held else None
            finally:
                # A session that holds the lock and an odd timeout must not go back to the pool.
                if held is not False:
                    await connection.invalidate()


@asynccontextmanager
async def _owned_file(database: Database, name: str) -> AsyncIterator[AsyncConnection | None]:
    path = Path(f"{database.url.database}.{name.replace('/', '-').replace(' ', '-')}.lock")
    make_folder(path.parent)
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
            yield connection
