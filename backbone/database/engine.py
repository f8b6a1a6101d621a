"""The one database handle: transactions that write, connections that read, driver errors translated."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from backbone.database.errors import DEPENDENCY, translated_commit_errors, translated_errors
from backbone.errors import Busy, SetupError

# So many requests read, and so many others write, at the same time; the rest of the connections is for
# the process itself: the owners and the presence of two lanes (ten), probes and gauges.
AT_ONCE = 8
_CONNECTIONS_MAX = 30
_CONNECTIONS_KEPT = 10
# A request waits so long for its turn; whoever else finds no connection waits for one as long.
_TURN_WITHIN_S = 10.0
_CONNECT_TIMEOUT_S = 5
# A server that hangs is told from one that works; nothing we ask takes nearly as long.
_STATEMENT_TIMEOUT_S = 15
_CLOSE_TIMEOUT_S = 2
_SQLITE_BUSY_TIMEOUT_MS = 10_000
_IDLE_IN_TRANSACTION_TIMEOUT_MS = 8_000
_TCP_USER_TIMEOUT_MS = 6_000
# Below that of a transaction that stands still: whoever waits for one is given up before it ends.
_LOCK_TIMEOUT_MS = 6_000
_POOL: dict[str, Any] = {
    "pool_size": _CONNECTIONS_KEPT,
    "max_overflow": _CONNECTIONS_MAX - _CONNECTIONS_KEPT,
    "pool_timeout": _TURN_WITHIN_S,
}


class Database:
    """A pool of connections to PostgreSQL, or one SQLite file; connects on first use.

    On PostgreSQL `schema` is where bare names of tables lie, in place of the user's own search path.
    `statement_timeout_s` is for work that takes longer than any request may.
    """

    def __init__(
        self, url: str, *, schema: str | None = None, statement_timeout_s: float = _STATEMENT_TIMEOUT_S
    ) -> None:
        self.url: URL = make_url(url)
        self.engine: AsyncEngine = (
            _sqlite_engine(self.url)
            if self.embedded
            else _postgres_engine(self.url, schema, statement_timeout_s)
        )
        self._reads = asyncio.Semaphore(AT_ONCE)
        self._writes = asyncio.Semaphore(AT_ONCE)

    @property
    def embedded(self) -> bool:
        """Whether this is SQLite."""
        return self.url.get_backend_name() == "sqlite"

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end of the block and rolled back on any error.

        On SQLite it is the only writer from its first moment. Raises CommitUnknown when the commit got
        no answer; after any other error (Unavailable, RolledBack, IntegrityError) nothing is stored.
        """
        await _take_turn(self._writes)
        try:
            with translated_errors():
                async with self.engine.connect() as connection:
                    await connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")
                    async with connection.begin() as transaction:
                        yield connection
                        with translated_commit_errors():
                            await transaction.commit()
        finally:
            self._writes.release()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read from for a request, which waits for its turn; nothing is committed.

        On PostgreSQL each statement sees what was committed before it, with a transaction around them or
        not: there is none, which would take two more answers of the server. Raises Unavailable. No such
        block may be opened within another one: all could wait for one another.
        """
        await _take_turn(self._reads)
        try:
            async with self.looking() as connection:
                if not self.embedded:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection
        finally:
            self._reads.release()

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[AsyncConnection]:
        """A connection for what the process itself must know, however many requests there are.

        Nothing is committed. Raises Unavailable.
        """
        with translated_errors():
            async with self.engine.connect() as connection:
                yield connection

    async def ask(self) -> None:
        """Ask the smallest question there is. Raises Unavailable."""
        async with self.looking() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection; those to a server that hangs are left to the end of the process."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self.engine.dispose()


async def _take_turn(turns: asyncio.Semaphore) -> None:
    """Wait for one of the turns. Raises Busy."""
    if not turns.locked():  # the usual case needs no timer
        await turns.acquire()
        return
    try:
        async with asyncio.timeout(_TURN_WITHIN_S):
            await turns.acquire()
    except TimeoutError as error:
        raise Busy(DEPENDENCY, "too many requests are asking it already") from error


def _postgres_engine(url: URL, schema: str | None, statement_timeout_s: float) -> AsyncEngine:
    path = {} if schema is None else {"search_path": f'"{schema}"'}
    return create_async_engine(
        url,
        **_POOL,
        connect_args={
            "timeout": _CONNECT_TIMEOUT_S,
            "command_timeout": statement_timeout_s,
            "server_settings": {
                "application_name": "maeari",
                "timezone": "UTC",
                **path,
                # A process that froze in a transaction must not hold its channels' rows for long.
                "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_TIMEOUT_MS),
                # Nor, with them, one that froze while the server sends it rows: that is not idle.
                "tcp_user_timeout": str(_TCP_USER_TIMEOUT_MS),
                # Nor one of a queue of them, each of which would get the lock when the one before is ended.
                "lock_timeout": str(_LOCK_TIMEOUT_MS),
            },
        },
    )


def _sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, **_POOL, connect_args={"timeout": _SQLITE_BUSY_TIMEOUT_MS / 1000})
    event.listen(engine.sync_engine, "do_connect", _before_connecting)
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def make_folder(folder: Path) -> None:
    """Make the folder of a file. Raises SetupError where that cannot be, or where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"MAEARI_DATA: cannot make the folder {folder}: {error.strerror}; choose another one"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SetupError(f"MAEARI_DATA: cannot write into the folder {folder}; choose another one")


def _before_connecting(_dialect: object, _record: object, arguments: list[Any], _options: object) -> None:
    make_folder(Path(arguments[0]).parent)


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes too late (before the first write, not the first read): ours replaces it.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    # What was acknowledged must be on disk: NORMAL would lose the last commits with the power.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
