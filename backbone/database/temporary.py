"""Values by key for as long as some work lasts, more than memory holds: a SQLite file without a name.

Guarantees: memory stays within `CACHE_KIB`; nothing is left behind, however the process ends. The file
lies in SQLITE_TMPDIR or TMPDIR, else in /var/tmp or /tmp.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from backbone.errors import NoRoom

CACHE_KIB = 64 * 1024
_PAGE_ROWS = 1_000


class TemporaryValues:
    """Bytes by text keys; any number of them. To be used by one thread, and closed."""

    def __init__(self) -> None:
        # An empty name means a file of SQLite's own, which has no name and is gone with the connection.
        self._connection = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", f"cache_size=-{CACHE_KIB}"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE held (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def get(self, keys: Collection[str]) -> dict[str, bytes]:
        """Return the values of those keys that have one. Raises NoRoom."""
        query = "SELECT key, value FROM held WHERE key IN (SELECT value FROM json_each(?))"
        with _translated():
            return dict(self._connection.execute(query, (json.dumps(list(keys)),)))

    def put(self, values: Mapping[str, bytes]) -> None:
        """Store values, in place of those before. Raises NoRoom: of no use after that."""
        with _translated():
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR REPLACE INTO held VALUES (?, ?)", values.items())
            self._connection.execute("COMMIT")

    def remove(self, key: str) -> bool:
        """Remove a value; return whether there was one. Raises NoRoom."""
        with _translated():
            return self._connection.execute("DELETE FROM held WHERE key = ?", (key,)).rowcount > 0

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield all, by key; what is stored meanwhile may be among them. Raises NoRoom."""
        after = ""
        query = "SELECT key, value FROM held WHERE key > ? ORDER BY key LIMIT ?"
        while True:
            with _translated():
                rows = self._connection.execute(query, (after, _PAGE_ROWS)).fetchall()
            yield from rows
            if len(rows) < _PAGE_ROWS:
                return
            after = rows[-1][0]

    def close(self) -> None:
        """Remove it all."""
        self._connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise NoRoom(f"temporary files (SQLITE_TMPDIR, TMPDIR): {error}") from error
