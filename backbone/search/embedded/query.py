"""A search query as SQL over the documents and an FTS5 expression over their words; pure.

Guarantees: the same hits as on an Elasticsearch without nori; what the user wrote is only ever a
parameter, or a quoted string of terms, which hold letters, digits, marks and emoji alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from backbone.search import Rights, SearchQuery
from backbone.search.cursors import AfterHit
from backbone.search.embedded.forms import COLUMNS, terms_sought
from backbone.search.readings import Part, Reading, reading_of_phrase, readings_excluded, readings_of_words


class Condition(NamedTuple):
    """SQL that is true of the hits, with its parameters; the documents' table is named `d` in it."""

    sql: str
    parameters: tuple[Any, ...] = ()


ORDER = {
    "newest": "d.created_at_ms DESC, d.channel ASC, d.sequence DESC",
    "oldest": "d.created_at_ms ASC, d.channel ASC, d.sequence ASC",
}
_AFTER = (
    "(d.created_at_ms {moment} ? OR (d.created_at_ms = ?"
    " AND (d.channel > ? OR (d.channel = ? AND d.sequence {moment} ?))))"
)
_AMONG = "IN (SELECT value FROM json_each(?))"
_MENTIONED = f"EXISTS (SELECT 1 FROM json_each(d.mentions) WHERE value {_AMONG})"
# One condition for any number of users: SQLite bounds the depth of an expression.
_ALL_MENTIONED = (
    "NOT EXISTS (SELECT 1 FROM json_each(?) WHERE value NOT IN (SELECT value FROM json_each(d.mentions)))"
)


def match_expression(query: SearchQuery) -> str | None:
    """Return the FTS5 expression for what must occur, None where nothing must."""
    parts = [_any_reading(readings) for readings in readings_of_words(query)]
    return " AND ".join([*parts, *_phrases(query.phrases)]) or None


def exact_expression(query: SearchQuery) -> str | None:
    """Return the FTS5 expression for the texts that hold what was asked for as it was typed."""
    parts = [_whole(readings[0]) for readings in readings_of_words(query)]
    return " AND ".join([*parts, *_phrases(query.phrases)]) or None


def excluded_expression(query: SearchQuery) -> str | None:
    """Return the FTS5 expression for what must not occur, None where there is no such thing."""
    parts = [_any_reading(readings) for word in query.not_words if (readings := readings_excluded(word))]
    return " OR ".join([*parts, *_phrases(query.not_phrases)]) or None


def visible(rights: Rights) -> Condition:
    """Return what holds for every document that these rights cover and that is not deleted."""
    return Condition(
        f"d.deleted = 0 AND (d.private = 0 OR d.channel {_AMONG})", (_array(rights.private_channels),)
    )


def filters(query: SearchQuery) -> list[Condition]:
    """Return the conditions that are not about words."""
    conditions = [
        *_unless_empty(f"d.author {_AMONG}", query.authors),
        *_unless_empty(f"d.channel {_AMONG}", query.channels),
        *_unless_empty(_ALL_MENTIONED, query.mentions),
        *_unless_empty(f"NOT d.author {_AMONG}", query.not_authors),
        *_unless_empty(f"NOT d.channel {_AMONG}", query.not_channels),
        *_unless_empty(f"NOT {_MENTIONED}", query.not_mentions),
    ]
    if query.has_attachment:
        conditions.append(Condition("d.has_attachment = 1"))
    if query.not_has_attachment:
        conditions.append(Condition("d.has_attachment = 0"))
    if query.from_ms is not None:
        conditions.append(Condition("d.created_at_ms >= ?", (query.from_ms,)))
    if query.until_ms is not None:
        conditions.append(Condition("d.created_at_ms < ?", (query.until_ms,)))
    return conditions


def after(sort: str, place: AfterHit) -> Condition:
    """Return what holds for the hits that follow `place` in this order."""
    moment, channel = place.created_at_ms, place.channel
    sql = _AFTER.format(moment="<" if sort == "newest" else ">")
    return Condition(sql, (moment, moment, channel, channel, place.sequence))


def conjunction(conditions: Sequence[Condition]) -> Condition:
    """Return one condition that is true where all are."""
    parameters = tuple(value for condition in conditions for value in condition.parameters)
    return Condition(" AND ".join(condition.sql for condition in conditions), parameters)


def _phrases(phrases: Sequence[str]) -> list[str]:
    return [_whole(reading) for phrase in phrases if (reading := reading_of_phrase(phrase)) is not None]


def _any_reading(readings: Sequence[Reading]) -> str:
    return f"({' OR '.join(_whole(reading) for reading in readings if _is_kept(reading))})"


def _is_kept(reading: Reading) -> bool:
    return all(part.form in COLUMNS for part in reading.parts)


def _whole(reading: Reading) -> str:
    return f"({' AND '.join(map(_part, reading.parts))})"


def _part(part: Part) -> str:
    """Terms side by side; a star lets the last one go on."""
    return f'{part.form} : "{" ".join(terms_sought(part))}"{" *" if part.open else ""}'


def _unless_empty(sql: str, values: tuple[str, ...]) -> list[Condition]:
    return [Condition(sql, (_array(values),))] if values else []


def _array(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()
