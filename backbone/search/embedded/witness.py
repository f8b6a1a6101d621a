"""Whether the state that a search reads holds a version of a message: asked in the search's own transaction.

Every batch that is put counts up the number of its index's changes, and its documents carry it: a
ranking that was kept holds a document if it was made at that change or a later one.
"""

import sqlite3

from backbone.search import Witness


def next_change(connection: sqlite3.Connection, number: int) -> int:
    """Count up the changes of an index; return the new one's number."""
    row = connection.execute(
        "INSERT INTO changes (number, change) VALUES (?, 1)"
        " ON CONFLICT (number) DO UPDATE SET change = change + 1 RETURNING change",
        (number,),
    ).fetchone()
    return int(row[0])


def last_change(connection: sqlite3.Connection, number: int) -> int:
    """Return the number of the last change that this transaction sees."""
    row = connection.execute("SELECT change FROM changes WHERE number = ?", (number,)).fetchone()
    return 0 if row is None else int(row[0])


def holds(connection: sqlite3.Connection, number: int, witness: Witness, change: int) -> bool:
    """Say whether the index held the version, or a newer one, at a change at the latest.

    A document that was changed again since then is no proof: what it was before is not known.
    """
    sql = f"SELECT 1 FROM documents_{number} WHERE message_id = ? AND version >= ? AND change <= ?"
    return connection.execute(sql, (*witness, change)).fetchone() is not None
