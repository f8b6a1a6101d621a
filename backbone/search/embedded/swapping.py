"""Swaps of the alias in the embedded search file: one transaction from the first look to the last.

Guarantees: nobody else writes to the file meanwhile, while searches go on; a process that dies in it
leaves the alias where it was, and its lock goes with it. What was put stays, done or not.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import TypeVar

from backbone.errors import Unavailable
from backbone.search import DEPENDENCY, IndexedDocument, ItemFailure
from backbone.search.embedded.store import SearchFile, name_of, number_of

T = TypeVar("T")
Put = Callable[["EmbeddedSwap", Sequence[IndexedDocument]], Awaitable[list[ItemFailure]]]


@asynccontextmanager
async def swapping(file: SearchFile, alias: str, index: str, put: Put) -> AsyncIterator["EmbeddedSwap"]:
    """See SearchIndex.swapping; `file` is used for this alone, and closed."""
    thread = ThreadPoolExecutor(1, "search-swap")
    swap = EmbeddedSwap(file, thread, alias, put)
    try:
        await swap.begin(index)
        yield swap
    finally:
        # Behind whatever the thread is at, should the caller have been cancelled.
        await swap.end()
        thread.shutdown(wait=False)


class EmbeddedSwap:
    """See Swap."""

    before: str | None = None
    number = 0
    """The number of the index that is to be swapped in."""

    def __init__(self, file: SearchFile, thread: ThreadPoolExecutor, alias: str, put: Put) -> None:
        self._file = file
        self._thread = thread
        self._alias = alias
        self._put = put
        self._transaction = ExitStack()
        self._connection: sqlite3.Connection | None = None

    async def put(self, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        """See Swap."""
        return await self._put(self, documents)

    async def done(self) -> None:
        """See Swap."""

        def move(connection: sqlite3.Connection) -> None:
            if self.before is not None:
                former = number_of(connection, self._alias, self.before)
                point(connection, previous_of(self._alias), former)
            point(connection, self._alias, self.number)
            self._transaction.close()

        await self.alone(move)

    async def begin(self, index: str) -> None:
        """Take the file's lock; wait for it as long as any writer does. Raises Unavailable."""

        def begin() -> None:
            self._connection = self._transaction.enter_context(self._file.writing())
            self.before = pointed_at(self._connection, self._alias)
            self.number = number_of(self._connection, self._alias, index)

        await self._in_thread(begin)

    async def end(self) -> None:
        """Give the lock back. Raises Unavailable when what was put could not be stored."""

        def end() -> None:
            try:
                self._transaction.close()
            finally:
                self._file.close()

        await self._in_thread(end)

    async def alone(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Return what the operation finds or does in the transaction. Raises Unavailable, then for good."""

        def call() -> T:
            connection, self._connection = self._connection, None
            if connection is None:
                raise Unavailable(DEPENDENCY, "the search file: its transaction is over")
            # An error may have ended the transaction: what came after it would be on its own.
            with self._file.translated():
                found = operation(connection)
            self._connection = connection if connection.in_transaction else None
            return found

        return await self._in_thread(call)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def previous_of(alias: str) -> str:
    """Return the name beside the alias that points at the index which was live before."""
    return f"{alias}-previous"


def pointed_at(connection: sqlite3.Connection, alias: str) -> str | None:
    """Return the name of the index behind an alias."""
    row = connection.execute("SELECT number FROM aliases WHERE alias = ?", (alias,)).fetchone()
    return None if row is None else name_of(connection, row[0])


def point(connection: sqlite3.Connection, alias: str, number: int) -> None:
    """Point an alias at an index."""
    connection.execute(
        "INSERT INTO aliases (alias, number) VALUES (?, ?)"
        " ON CONFLICT (alias) DO UPDATE SET number = excluded.number",
        (alias, number),
    )
