"""A search query as Elasticsearch's query DSL; pure.

Guarantees: rights and `deleted: false` are filters of every query; the text of a query is only ever
a value, never syntax.
"""

from collections.abc import Sequence
from typing import Any

from backbone.search import Rights, SearchQuery
from backbone.search.analysis import Token, is_open, tokens

Clause = dict[str, Any]

_WORD_FIELDS = ["content^1.5", "content.english"]
_PHRASE_FIELDS = ["content"]
# The server counts each term that an open phrase stands for as a clause, and allows some thousands a query.
_OPEN_EXPANSIONS = 1_000
# How many values the server takes in one clause (index.max_terms_count).
_TERMS_MAX = 65_536

HIGHLIGHT: Clause = {
    "fields": {"content": {"matched_fields": ["content", "content.english"]}},
    "pre_tags": ["<em>"],
    "post_tags": ["</em>"],
}
BY_RELEVANCE: list[Clause] = [{"_score": "desc"}, {"created_at": "desc"}]
BY_TIME: dict[str, list[Clause]] = {
    # (channel, sequence) is one message: ties cannot remain.
    "newest": [{"created_at": "desc"}, {"channel": "asc"}, {"sequence": "desc"}],
    "oldest": [{"created_at": "asc"}, {"channel": "asc"}, {"sequence": "asc"}],
}


def bool_query(query: SearchQuery, rights: Rights) -> Clause | None:
    """Return the query, or None when its words hold nothing that can be found."""
    texts = (*query.words, *query.phrases, *query.not_words, *query.not_phrases)
    open_phrases = sum(is_open(found) and len(found) > 1 for found in map(tokens, texts))
    expansions = max(1, _OPEN_EXPANSIONS // max(1, open_phrases))
    must = _all(query.words, _WORD_FIELDS, expansions) + _all(query.phrases, _PHRASE_FIELDS, expansions)
    if (query.words or query.phrases) and not must:
        return None
    must_not = _all(query.not_words, _WORD_FIELDS, expansions)
    must_not += _all(query.not_phrases, _PHRASE_FIELDS, expansions)
    return {
        "bool": {
            "must": must,
            "filter": [*_visible(rights), *_included(query)],
            "must_not": must_not + _excluded(query),
        }
    }


def _all(texts: Sequence[str], fields: list[str], expansions: int) -> list[Clause]:
    return [_side_by_side(text, found, fields, expansions) for text in texts if (found := tokens(text))]


def _side_by_side(text: str, found: list[Token], fields: list[str], expansions: int) -> Clause:
    """One word is a phrase too: `asyncio.gather` is two terms side by side, `완료했습니다` five."""
    if not is_open(found):
        return {"multi_match": {"query": text, "type": "phrase", "fields": fields}}
    if len(found) == 1:
        return {"prefix": {"content": {"value": found[0].term}}}
    return {"match_phrase_prefix": {"content": {"query": text, "max_expansions": expansions}}}


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
