"""A search query as Elasticsearch's query DSL; pure.

Guarantees: rights and `deleted: false` are filters of every query; the text of a query is only ever
a value, never syntax.
"""

from collections.abc import Sequence
from typing import Any

from backbone.search import Rights, SearchQuery
from backbone.search.analysis import is_open, tokens
from backbone.search.elasticsearch.mapping import BEGUN_CHARACTERS_MAX
from backbone.search.readings import (
    Form,
    Part,
    Reading,
    reading_of_phrase,
    readings_excluded,
    readings_of_words,
)

Clause = dict[str, Any]

FIELD_OF: dict[Form, str] = {
    "exact": "content",
    "stemmed": "content.english",
    "parts": "content.parts",
    "joined": "content.joined",
    "heads": "content.heads",
    "initials": "content.initials",
    "korean": "content.korean",
}
BEGUN_FIELD = "content.begun"
# How much the lesser readings of a word add to the best one's score.
_TIE_BREAKER = 0.1
# The server counts each term that an open phrase stands for as a clause, and allows some thousands a query.
_OPEN_EXPANSIONS = 1_000
# How many values the server takes in one clause (index.max_terms_count).
_TERMS_MAX = 65_536

BY_RELEVANCE: list[Clause] = [{"_score": "desc"}, {"created_at": "desc"}]
BY_TIME: dict[str, list[Clause]] = {
    # (channel, sequence) is one message: ties cannot remain.
    "newest": [{"created_at": "desc"}, {"channel": "asc"}, {"sequence": "desc"}],
    "oldest": [{"created_at": "asc"}, {"channel": "asc"}, {"sequence": "asc"}],
}


def bool_query(query: SearchQuery, rights: Rights) -> Clause | None:
    """Return the query, or None when its words hold nothing that can be found."""
    wanted = [*readings_of_words(query), *_phrases(query.phrases)]
    if (query.words or query.phrases) and not wanted:
        return None
    unwanted = [*filter(None, map(readings_excluded, query.not_words)), *_phrases(query.not_phrases)]
    expansions = max(1, _OPEN_EXPANSIONS // max(1, sum(map(_open_phrases, (*wanted, *unwanted)))))
    return {
        "bool": {
            "must": [_any_reading(readings, expansions) for readings in wanted],
            "filter": [*_visible(rights), *_included(query)],
            "must_not": [_any_reading(readings, expansions) for readings in unwanted] + _excluded(query),
        }
    }


def _phrases(phrases: Sequence[str]) -> list[tuple[Reading, ...]]:
    return [(reading,) for phrase in phrases if (reading := reading_of_phrase(phrase)) is not None]


def _open_phrases(readings: Sequence[Reading]) -> int:
    return sum(part.open and len(tokens(part.text)) > 1 for reading in readings for part in reading.parts)


def _any_reading(readings: Sequence[Reading], expansions: int) -> Clause:
    clauses = [_whole(reading, expansions) for reading in readings]
    return clauses[0] if len(clauses) == 1 else {"dis_max": {"queries": clauses, "tie_breaker": _TIE_BREAKER}}


def _whole(reading: Reading, expansions: int) -> Clause:
    if len(reading.parts) == 1:
        return _part(reading.parts[0], expansions, reading.weight)
    parts = [_part(part, expansions, 1.0) for part in reading.parts]
    return {"bool": {"must": parts, "boost": reading.weight}}


def _part(part: Part, expansions: int, boost: float) -> Clause:
    """One word is a phrase too: `asyncio.gather` is two terms side by side, `완료했습니다` five."""
    field = FIELD_OF[part.form]
    if not part.open:
        return {"match_phrase": {field: {"query": part.text, "boost": boost}}}
    found = tokens(part.text)
    if len(found) > 1:
        phrase = {"query": part.text, "max_expansions": expansions, "boost": boost}
        return {"match_phrase_prefix": {field: phrase}}
    (token,) = found
    if is_open(found) or len(token.term) > BEGUN_CHARACTERS_MAX:
        return {"prefix": {field: {"value": token.term, "boost": boost}}}
    return {"term": {BEGUN_FIELD: {"value": token.term, "boost": boost}}}


def _visible(rights: Rights) -> list[Clause]:
    readable: list[Clause] = [{"term": {"private": False}}]
    for start in range(0, len(rights.private_channels), _TERMS_MAX):
        readable.append({"terms": {"channel": rights.private_channels[start : start + _TERMS_MAX]}})
    return [{"term": {"deleted": False}}, {"bool": {"should": readable, "minimum_should_match": 1}}]


def _included(query: SearchQuery) -> list[Clause]:
    clauses = [*_any_of("author", query.authors), *_any_of("channel", query.channels)]
    clauses += [{"term": {"mentions": user}} for user in query.mentions]
    if query.has_attachment:
        clauses.append({"term": {"has_attachment": True}})
    moments: Clause = {}
    if query.from_ms is not None:
        moments["gte"] = query.from_ms
    if query.until_ms is not None:
        moments["lt"] = query.until_ms
    if moments:
        clauses.append({"range": {"created_at": {**moments, "format": "epoch_millis"}}})
    return clauses


def _excluded(query: SearchQuery) -> list[Clause]:
    clauses = [
        *_any_of("author", query.not_authors),
        *_any_of("channel", query.not_channels),
        *_any_of("mentions", query.not_mentions),
    ]
    if query.not_has_attachment:
        clauses.append({"term": {"has_attachment": True}})
    return clauses


def _any_of(field: str, values: tuple[str, ...]) -> list[Clause]:
    return [{"terms": {field: list(values)}}] if values else []
