"""Documents as rows of the embedded search file, and how these are stored.

Guarantees: an older version never replaces a newer one; a document that no row can hold is named, with
the reason.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from backbone.search import ItemFailure
from backbone.search.embedded.forms import Terms, terms_of
from backbone.search.embedded.store import add_words
from backbone.search.embedded.witness import next_change
from schemas.clock import parse_ms
from schemas.documents import IndexedDocument, SearchDocument

_encoder = msgspec.json.Encoder()

_STORE = """
INSERT INTO documents_{number} (message_id, version, author, channel, sequence, created_at_ms, mentions,
    has_attachment, private, deleted, source, change)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (message_id) DO UPDATE SET version = excluded.version, author = excluded.author,
    channel = excluded.channel, sequence = excluded.sequence, created_at_ms = excluded.created_at_ms,
    mentions = excluded.mentions, has_attachment = excluded.has_attachment, private = excluded.private,
    deleted = excluded.deleted, source = excluded.source, change = excluded.change
WHERE excluded.version > documents_{number}.version
RETURNING document
"""


class Row(NamedTuple):
    """A document as the tables hold it."""

    columns: tuple[Any, ...]
    terms: Terms | None


def rows_of(documents: Sequence[IndexedDocument]) -> tuple[list[Row], list[ItemFailure]]:
    """Analyse documents; return their rows, and those that no row can hold."""
    rows: list[Row] = []
    refused: list[ItemFailure] = []
    for message_id, document in documents:
        try:
            rows.append(_row(message_id, document))
        except ValueError as error:
            refused.append(ItemFailure(message_id, str(error)))
    return rows, refused


def _row(message_id: str, document: SearchDocument) -> Row:
    """Analyse a document. Raises ValueError when a moment is none, or a text none."""
    terms = None if document.deleted else terms_of(document.content)
    created_at_ms, _ = (
        None if moment is None else parse_ms(moment) for moment in (document.created_at, document.updated_at)
    )
    columns = (
        message_id,
        document.version,
        document.author,
        document.channel,
        document.sequence,
        created_at_ms,
        _encoder.encode(document.mentions).decode(),
        document.has_attachment,
        document.private,
        document.deleted,
        _encoder.encode(document),
    )
    return Row(columns, terms if terms is not None and terms.exact else None)


def store_all(connection: sqlite3.Connection, rows: Sequence[Row], number: int) -> None:
    """Store rows in an index, as one change of it."""
    change = next_change(connection, number)
    for row in rows:
        _store(connection, number, row, change)


def _store(connection: sqlite3.Connection, number: int, row: Row, change: int) -> None:
    stored = connection.execute(_STORE.format(number=number), (*row.columns, change)).fetchall()
    for (document,) in stored:
        connection.execute(f"DELETE FROM words_{number} WHERE rowid = ?", (document,))
        if row.terms is not None:
            add_words(connection, number, document, row.terms)
