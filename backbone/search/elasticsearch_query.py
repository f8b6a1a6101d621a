"""A search query as Elasticsearch's query DSL; pure.

Guarantees: rights and `deleted: false` are filters of every query; the text of a query is only ever
a value, never syntax.
"""

from typing import Any

from backbone.search import Rights, SearchQuery
from backbone.search.analysis import is_open, tokens

Clause = dict[str, Any]

_WORD_FIELDS = ["content^1.5", "content.english"]
_PHRASE_FIELDS = ["content"]
# A lone syllable stands for every pair that begins with it; there are 11,172 syllables, few of them common.
_OPEN_EXPANSIONS = 1_000

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
    must = [_text(text, _WORD_FIELDS) for text in query.words if tokens(text)]
    must += [_text(text, _PHRASE_FIELDS) for text in query.phrases if tokens(text)]
    if (query.words or query.phrases) and not must:
        return None
    must_not = [_text(text, _WORD_FIELDS) for text in query.not_words if tokens(text)]
    must_not += [_text(text, _PHRASE_FIELDS) for text in query.not_phrases if tokens(text)]
    return {
        "bool": {
            "must": must,
            "filter": [*_visible(rights), *_included(query)],
            "must_not": must_not + _excluded(query),
        }
    }


def _text(text: str, fields: list[str]) -> Clause:
    """One word is a phrase too: `asyncio.gather` is two terms side by side, `완료했습니다` five."""
    if is_open(tokens(text)):
        return {
            "multi_match": {
                "query": text,
                "type": "phrase_prefix",
                "fields": fields,
                "max_expansions": _OPEN_EXPANSIONS,
            }
        }
    return {"multi_match": {"query": text, "type": "phrase", "fields": fields}}


def _visible(rights: Rights) -> list[Clause]:
    readable: list[Clause] = [{"term": {"private": False}}]
    if rights.private_channels:
        readable.append({"terms": {"channel": list(rights.private_channels)}})
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
