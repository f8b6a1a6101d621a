"""Points in time of searches by relevance: the order in which their hits were, kept for the later pages.

Guarantees: a point is kept for two minutes after its last page, as long as all of them together have
room; whoever asks the same of the same state shares one. Calls block.
"""

import hashlib
import secrets
import sqlite3
import struct
from array import array
from typing import NamedTuple

import msgspec

from backbone.search import CursorExpired, Rights, SearchQuery
from backbone.search.cursors import Number

POINT_KEPT_MS = 120_000
ROOM_BYTES = 128 * 1024 * 1024
_SCORES = struct.Struct("=d")
SCORE_BYTES = _SCORES.size
_GONE = "the point in time of the cursor is gone"

_encoder = msgspec.json.Encoder()


class AfterPlace(msgspec.Struct, frozen=True, array_like=True):
    """A place in hits by relevance: the point in time, and the number of the last hit there."""

    point: str
    place: Number


class Ranking(NamedTuple):
    """Every hit of a search by relevance, the best first: (document, score), and where and when that was."""

    query: SearchQuery
    rights: Rights
    number: int
    change: int
    hits: list[tuple[int, float]]

    def asked(self) -> bytes:
        """Return a digest of all that the hits follow from."""
        return hashlib.sha256(_encoder.encode((self.query, self.rights, self.number, self.change))).digest()


def keep_point(connection: sqlite3.Connection, ranking: Ranking, now_ms: int) -> str:
    """Keep a ranking, forget those that are too old or have no room; return the point's name."""
    connection.execute("DELETE FROM rankings WHERE until_ms < ?", (now_ms,))
    asked, until_ms = ranking.asked(), now_ms + POINT_KEPT_MS
    sql = "UPDATE rankings SET until_ms = ? WHERE asked = ? RETURNING point"
    if kept := connection.execute(sql, (until_ms, asked)).fetchall():
        return str(kept[0][0])
    point = secrets.token_urlsafe(12)
    documents = _encoder.encode([document for document, _ in ranking.hits]).decode()
    scores = array("d", (score for _, score in ranking.hits)).tobytes()
    size_bytes = len(documents) + len(scores)
    _make_room(connection, size_bytes)
    connection.execute(
        "INSERT INTO rankings (point, asked, number, change, until_ms, size_bytes, documents, scores)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (point, asked, ranking.number, ranking.change, until_ms, size_bytes, documents, scores),
    )
    return point


def _make_room(connection: sqlite3.Connection, size_bytes: int) -> None:
    """Forget the points that were not asked for the longest, unless there is room for one more."""
    sql = "SELECT point, sum(size_bytes) OVER (ORDER BY until_ms DESC, point) FROM rankings"
    kept = connection.execute(sql).fetchall()
    for point, so_far_bytes in kept:
        if so_far_bytes + size_bytes > ROOM_BYTES:
            connection.execute("DELETE FROM rankings WHERE point = ?", (point,))


def prolong_point(connection: sqlite3.Connection, point: str, now_ms: int) -> None:
    """Keep a point in time for two minutes more. Raises CursorExpired."""
    kept = connection.execute(
        "UPDATE rankings SET until_ms = ? WHERE point = ? AND until_ms >= ?",
        (now_ms + POINT_KEPT_MS, point, now_ms),
    ).rowcount
    if not kept:
        raise CursorExpired(_GONE)


def number_of_point(connection: sqlite3.Connection, point: str) -> int:
    """Return the number of the index that a point in time looks at. Raises CursorExpired."""
    return _of_point(connection, "number", point)


def change_of_point(connection: sqlite3.Connection, point: str) -> int:
    """Return the last change of the index that a point in time has seen. Raises CursorExpired."""
    return _of_point(connection, "change", point)


def score_of(packed: bytes) -> float:
    """Return a score out of a ranking."""
    return float(_SCORES.unpack(packed)[0])


def _of_point(connection: sqlite3.Connection, column: str, point: str) -> int:
    row = connection.execute(f"SELECT {column} FROM rankings WHERE point = ?", (point,)).fetchone()
    if row is None:
        raise CursorExpired(_GONE)
    return int(row[0])
