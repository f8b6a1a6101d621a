"""The threads that carry searches out: several at once, each on a connection of its own.

Guarantees: a heavy search leaves threads to the others; one that takes too long, or whose asker has
gone, is interrupted and gives its thread back; what only waits its turn counts the same time.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from typing import TypeVar

from backbone.errors import Unavailable
from backbone.search import DEPENDENCY
from backbone.search.embedded.store import SearchFile

T = TypeVar("T")
THREADS = 4
SEARCH_TIMEOUT_S = 5.0
# How often SQLite asks whether to go on, in steps of its virtual machine: about each millisecond.
_STEPS = 10_000


class Searchers:
    """A few readers of one file; they open it at their first search."""

    def __init__(self, path: Path) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "searches")
        self._files = [SearchFile(path) for _ in range(THREADS)]
        # Last in, first out: who searches rarely has one connection open, not all of them.
        self._idle: LifoQueue[SearchFile] = LifoQueue()
        for file in self._files:
            self._idle.put(file)
        self._closed = threading.Event()

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Return what the operation finds in a transaction of its own. Raises Unavailable in time."""
        given_up = threading.Event()
        try:
            async with asyncio.timeout(SEARCH_TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._search, operation, given_up
                )
        except TimeoutError as error:
            raise Unavailable(DEPENDENCY, f"a search took longer than {SEARCH_TIMEOUT_S:g} s") from error
        finally:
            given_up.set()

    def _search(self, operation: Callable[[sqlite3.Connection], T], given_up: threading.Event) -> T:
        file = self._idle.get()
        try:
            with file.reading() as connection:
                connection.set_progress_handler(lambda: given_up.is_set() or self._closed.is_set(), _STEPS)
                try:
                    return operation(connection)
                finally:
                    connection.set_progress_handler(None, 0)
        finally:
            self._idle.put(file)

    async def close(self) -> None:
        """End what runs and close the connections."""
        self._closed.set()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        for file in self._files:
            file.close()
