"""The SQLite file of the embedded search index: its tables, and one connection to it.

Guarantees: several processes may use the file at once; a process that is killed leaves no half
write; what makes the file unusable is a SetupError of one line. Calls block: one thread a store.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backbone.errors import SetupError, Unavailable
from backbone.search import DEPENDENCY, QueryRefused
from backbone.search.embedded.forms import COLUMNS, Terms

BUSY_TIMEOUT_S = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS indices (
    number INTEGER PRIMARY KEY AUTOINCREMENT, alias TEXT NOT NULL, version INTEGER NOT NULL,
    UNIQUE (alias, version));
CREATE TABLE IF NOT EXISTS aliases (alias TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rankings (
    point TEXT PRIMARY KEY, asked BLOB NOT NULL UNIQUE, number INTEGER NOT NULL, change INTEGER NOT NULL,
    until_ms INTEGER NOT NULL, size_bytes INTEGER NOT NULL, documents TEXT NOT NULL, scores BLOB NOT NULL);
"""
# The words are cut and stemmed before they come here: FTS5 only parts them at spaces.
_INDEX = (
    """CREATE TABLE documents_{number} (
        document INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
        author TEXT NOT NULL, channel TEXT NOT NULL, sequence INTEGER NOT NULL, created_at_ms INTEGER,
        mentions TEXT NOT NULL, has_attachment INTEGER NOT NULL, private INTEGER NOT NULL,
        deleted INTEGER NOT NULL, source BLOB NOT NULL, change INTEGER NOT NULL DEFAULT 0)""",
    """CREATE INDEX documents_{number}_by_time
        ON documents_{number} (created_at_ms, channel, sequence) WHERE deleted = 0""",
    "CREATE INDEX documents_{number}_deleted ON documents_{number} (document) WHERE deleted = 1",
)
WORDS = f"CREATE VIRTUAL TABLE words_{{number}} USING fts5({', '.join(COLUMNS)}, tokenize = 'ascii')"

_NOT_USABLE = {
    sqlite3.SQLITE_PERM: "cannot be written",
    sqlite3.SQLITE_READONLY: "cannot be written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_NOTADB: "is not a SQLite file: move it away, then run `maeari rebuild search`",
    sqlite3.SQLITE_CORRUPT: "is damaged: move it away, then run `maeari rebuild search`",
}
# What SQLite says of a statement that exceeds its limits, however it is asked again.
_TOO_MUCH = ("too large", "too many", "too big", "too complex", "stack overflow")


class SearchFile:
    """One connection to the file; the tables exist once it is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one moment."""
        yield from self._transaction("BEGIN")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is the only writer from its first moment, and durable at its end."""
        yield from self._transaction("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self.translated():
            connection = self._opened or self._open()
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            _make_tables(connection)
        except sqlite3.Error:
            connection.close()
            raise
        self._opened = connection
        return connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what SQLite says into the errors of the port."""
        try:
            yield
        except OSError as error:
            raise self._setup_error(f"cannot be made: {error.strerror}") from error
        except sqlite3.Error as error:
            problem = _NOT_USABLE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
            if problem is not None:
                raise self._setup_error(problem) from error
            if "no such module" in str(error):
                raise SetupError("this Python's SQLite has no FTS5: use another Python") from error
            if any(limit in str(error) for limit in _TOO_MUCH):
                raise QueryRefused(f"the query holds too much: {error}") from error
            # Probes show this to anybody: it names no path.
            raise Unavailable(DEPENDENCY, f"the search file: {error}") from error

    def _setup_error(self, problem: str) -> SetupError:
        return SetupError(f"the search file {self._path} {problem} (see MAEARI_SEARCH_URL and MAEARI_DATA)")


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make what is missing. A file that has it all is not locked: a search need not wait for a writer."""
    if _is_there(connection, "rankings"):
        return
    connection.execute("BEGIN IMMEDIATE")
    if _is_there(connection, "indices") and not _is_there(connection, "changes"):
        _add_changes(connection)
    # Files of earlier versions hold points in time in another form: these are forgotten.
    for table in ("points", "point_hits"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in filter(str.strip, _SCHEMA.split(";")):
        connection.execute(statement)
    connection.execute("COMMIT")


def _is_there(connection: sqlite3.Connection, table: str) -> bool:
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (table,)).fetchone() is not None


def _add_changes(connection: sqlite3.Connection) -> None:
    """Take over a file from before changes were counted."""
    for (number,) in connection.execute("SELECT number FROM indices").fetchall():
        connection.execute(f"ALTER TABLE documents_{number} ADD COLUMN change INTEGER NOT NULL DEFAULT 0")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the file once; SQLite does not wait here for another process that does the same."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


def number_of(connection: sqlite3.Connection, alias: str, index: str | None) -> int:
    """Return the number of an index by its name, or of the one behind the alias. Raises Unavailable."""
    if index is None:
        row = connection.execute("SELECT number FROM aliases WHERE alias = ?", (alias,)).fetchone()
        if row is None:
            missing = f"nothing is behind the alias {alias}: start the indexer (maeari indexer)"
            raise Unavailable(DEPENDENCY, missing)
    else:
        row = connection.execute(
            "SELECT number FROM indices WHERE alias || '-' || version = ?", (index,)
        ).fetchone()
        if row is None:
            raise Unavailable(DEPENDENCY, f"there is no index {index}")
    return int(row[0])


def name_of(connection: sqlite3.Connection, number: int) -> str:
    """Return the name of an index that exists."""
    sql = "SELECT alias || '-' || version FROM indices WHERE number = ?"
    return str(connection.execute(sql, (number,)).fetchone()[0])


def make_index(connection: sqlite3.Connection, alias: str) -> int:
    """Make an index with the next version's name; return its number."""
    made = connection.execute(
        "INSERT INTO indices (alias, version)"
        " SELECT ?1, coalesce(max(version), 0) + 1 FROM indices WHERE alias = ?1",
        (alias,),
    ).lastrowid
    for statement in (*_INDEX, WORDS):
        connection.execute(statement.format(number=made))
    assert made is not None
    return made


def add_words(connection: sqlite3.Connection, number: int, document: int, terms: Terms) -> None:
    """Add the words of a document of which there are none."""
    values = ", ".join("?" * (1 + len(COLUMNS)))
    connection.execute(
        f"INSERT INTO words_{number} (rowid, {', '.join(COLUMNS)}) VALUES ({values})", (document, *terms)
    )


def drop_index(connection: sqlite3.Connection, number: int) -> None:
    """Delete an index and the points in time that look at it."""
    connection.execute(f"DROP TABLE words_{number}")
    connection.execute(f"DROP TABLE documents_{number}")
    connection.execute("DELETE FROM rankings WHERE number = ?", (number,))
    connection.execute("DELETE FROM changes WHERE number = ?", (number,))
    connection.execute("DELETE FROM aliases WHERE number = ?", (number,))
    connection.execute("DELETE FROM indices WHERE number = ?", (number,))
