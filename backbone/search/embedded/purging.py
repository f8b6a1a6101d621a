"""How documents of deleted messages are found and removed in the embedded search file; calls block."""

import sqlite3
from collections.abc import Sequence

from backbone.search import Tombstone
from backbone.search.embedded.store import number_of
from schemas.clock import format_ms


def deleted_before(connection: sqlite3.Connection, alias: str, moment_ms: int, limit: int) -> list[Tombstone]:
    """Return messages that were deleted before a moment, the first of them first."""
    number = number_of(connection, alias, None)
    # Moments are written alike, so that their texts are in their order.
    deleted_at = "json_extract(CAST(source AS TEXT), '$.updated_at')"
    sql = (
        f"SELECT message_id, version FROM documents_{number} WHERE deleted = 1 AND {deleted_at} < ?"
        f" ORDER BY {deleted_at} LIMIT ?"
    )
    return [Tombstone(*row) for row in connection.execute(sql, (format_ms(moment_ms), limit))]


def remove(connection: sqlite3.Connection, alias: str, tombstones: Sequence[Tombstone]) -> int:
    """Remove documents, each unless it has become newer; a deleted message has no words to remove."""
    number = number_of(connection, alias, None)
    sql = f"DELETE FROM documents_{number} WHERE message_id = ? AND version <= ? AND deleted = 1"
    return sum(connection.execute(sql, tombstone).rowcount for tombstone in tombstones)
