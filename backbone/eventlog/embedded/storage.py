"""One SQLite file, used by threads of its own: whole transactions run there, one writer at a time.

Guarantees: what `write` returned from is on disk (WAL with synchronous FULL), so it survives kill -9
and a power cut; any number of processes of one machine may use the file at once.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import DEPENDENCY

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Begin = Callable[[sqlite3.Connection], None]

BUSY_TIMEOUT_S = 5.0
# A writer that waits for another process hears that often whether the log is being closed.
BUSY_SLICE_S = 0.25
WATCH_INTERVAL_S = 0.01

_APPLICATION_ID = 0x6D616572
_SCHEMA_VERSION = 2

# A record's number is its partition's id and its offset in one integer: the rowid, so that reading a
# partition is one walk along the table, and appending to it needs no second index.
OFFSET_BITS = 40

_SCHEMA = """
CREATE TABLE topics (
    name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, cleanup TEXT NOT NULL, retention_ms INTEGER);
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    earliest INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, partition));
CREATE TABLE records (
    number INTEGER PRIMARY KEY, key TEXT, value BLOB, headers BLOB, timestamp_ms INTEGER NOT NULL);
CREATE TABLE committed (
    group_name TEXT NOT NULL, partition_id INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (group_name, partition_id)) WITHOUT ROWID;
CREATE TABLE members (
    group_name TEXT NOT NULL, member_id TEXT NOT NULL, topics TEXT NOT NULL,
    PRIMARY KEY (group_name, member_id)) WITHOUT ROWID;
CREATE TABLE owners (
    group_name TEXT NOT NULL, partition_id INTEGER NOT NULL, member_id TEXT, epoch INTEGER NOT NULL,
    PRIMARY KEY (group_name, partition_id)) WITHOUT ROWID;
"""

# What a file of an earlier version lacks, by the version that has it.
_ADDED = {
    2: "CREATE TABLE fences (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID",
}

_NEVER_USABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
}


class Storage:
    """The file's connections: one that writes, one that reads, one that watches for changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._connections: dict[str, sqlite3.Connection] = {}
        self._opening = asyncio.Lock()
        self._closed = False
        self._watch: asyncio.Task[None] | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._seen_version = 0
        self.changes = 0

    async def read(self, work: Work[T]) -> T:
        """Run `work` on one moment of the file. Raises Unavailable."""
        return await self._run("reader", _on_one_moment, work)

    async def write(self, work: Work[T]) -> T:
        """Run `work` as the only writer and commit; any error undoes all of it. Raises Unavailable."""
        result = await self._run("writer", self._as_only_writer, work)
        self._wake()
        return result

    async def changed_since(self, changes: int, timeout_s: float) -> None:
        """Return when the file has changed since `self.changes` was that number, or after the time."""
        if self.changes != changes or timeout_s <= 0:
            return
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_file())
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)

    async def close(self) -> None:
        """Finish what is running and close the connections."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        loop = asyncio.get_running_loop()
        for role, thread in self._threads.items():
            await loop.run_in_executor(thread, self._connections[role].close)
            thread.shutdown()
        if "watcher" in self._connections:
            self._connections["watcher"].close()
        self._threads.clear()
        self._connections.clear()

    async def open(self) -> None:
        """Open the file, made when it is not there. Raises SetupError or Unavailable."""
        async with self._opening:
            if self._closed:
                raise Unavailable(DEPENDENCY, f"{self.path} was closed")
            if self._connections:
                return
            threads = {role: ThreadPoolExecutor(1, f"eventlog-{role}") for role in ("writer", "reader")}
            loop = asyncio.get_running_loop()
            connections: dict[str, sqlite3.Connection] = {}
            try:
                connections["writer"] = await loop.run_in_executor(threads["writer"], _open, self.path)
                connections["reader"] = await loop.run_in_executor(threads["reader"], _connect, self.path)
                connections["watcher"] = _connect(self.path)
            except sqlite3.Error as error:
                raise Unavailable(DEPENDENCY, f"{self.path}: {error}") from error
            finally:
                if len(connections) < 3:
                    for connection in connections.values():
                        connection.close()
                    for thread in threads.values():
                        thread.shutdown(wait=False)
            self._threads, self._connections = threads, connections

    def _as_only_writer(self, connection: sqlite3.Connection) -> None:
        """Begin a transaction once no other process writes; one that is being closed does not wait."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if not _is_busy(error) or self._closed or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return

    async def _run(self, role: str, begin: Begin, work: Work[T]) -> T:
        if not self._connections:
            await self.open()
        connection = self._connections[role]
        return await asyncio.get_running_loop().run_in_executor(
            self._threads[role], _transaction, connection, begin, work
        )

    def _wake(self) -> None:
        self.changes += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _watch_file(self) -> None:
        """Wake the waiters when another process changed the file; ends when nobody waits."""
        idle = 0
        while idle < 100:
            version = self._data_version()
            if version != self._seen_version:
                self._seen_version = version
                self._wake()
            idle = 0 if self._waiters else idle + 1
            await asyncio.sleep(WATCH_INTERVAL_S)

    def _data_version(self) -> int:
        # A few microseconds on the shared index of the WAL: not worth a thread.
        try:
            return int(self._connections["watcher"].execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.OperationalError:
            return -1


def _on_one_moment(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")


def _transaction(connection: sqlite3.Connection, begin: Begin, work: Work[T]) -> T:
    try:
        begin(connection)
        try:
            result = work(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise Unavailable(DEPENDENCY, f"{error}") from error
    return result


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open(path: Path) -> sqlite3.Connection:
    """Open the file for writing; raises SetupError when it cannot be ours, Unavailable when it is busy."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _setup_error(path, error.strerror or str(error)) from error
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return _prepared(path)
        except sqlite3.Error as error:
            if _code(error) in _NEVER_USABLE:
                raise _setup_error(path, str(error)) from error
            # The change to WAL does not wait for other processes that are just opening the file.
            if not _is_busy(error) or time.monotonic() > deadline:
                raise Unavailable(DEPENDENCY, f"{path}: {error}") from error
            time.sleep(0.02)


def _prepared(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id != _APPLICATION_ID:
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise _setup_error(path, "it is a database of something else")
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            version = 1
        if not 1 <= version <= _SCHEMA_VERSION:
            raise SetupError(f"the event log {path} is of a later version ({version}): use that one's maeari")
        for added in range(version + 1, _SCHEMA_VERSION + 1):
            connection.execute(_ADDED[added])
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SLICE_S * 1000)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _is_busy(error: sqlite3.Error) -> bool:
    return _code(error) == sqlite3.SQLITE_BUSY


def _setup_error(path: Path, reason: str) -> SetupError:
    return SetupError(f"cannot use {path} as the event log: {reason}; set MAEARI_EVENTLOG_URL or MAEARI_DATA")
