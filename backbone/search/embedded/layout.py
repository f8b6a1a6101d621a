"""Search files of earlier versions: their words are cut anew out of their documents; calls block."""

import sqlite3

import msgspec

from backbone.search.embedded.forms import COLUMNS, terms_of
from backbone.search.embedded.store import WORDS, add_words
from schemas.documents import SearchDocument

_decoder = msgspec.json.Decoder(SearchDocument)


def outdated(connection: sqlite3.Connection) -> list[int]:
    """Return the numbers of the indices whose words are not in the forms of this version."""
    numbers = [number for (number,) in connection.execute("SELECT number FROM indices").fetchall()]
    return [number for number in numbers if _columns(connection, number) != COLUMNS]


def renew_words(connection: sqlite3.Connection, number: int) -> None:
    """Make the words of an index anew; with many documents this takes its time."""
    connection.execute(f"DROP TABLE words_{number}")
    connection.execute(WORDS.format(number=number))
    documents = connection.execute(f"SELECT document, source FROM documents_{number} WHERE deleted = 0")
    for document, source in documents:
        if (terms := terms_of(_decoder.decode(source).content)).exact:
            add_words(connection, number, document, terms)


def _columns(connection: sqlite3.Connection, number: int) -> tuple[str, ...]:
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (f"words_{number}",))
    return tuple(name for (name,) in rows)
