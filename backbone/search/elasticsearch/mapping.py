"""The settings and fields of a messages index in Elasticsearch.

`content` is analysed for mixed Korean and English: words in lower case, Hangul, Han and kana in
overlapping pairs, so that `배포` is found in `배포를`. `content.english` reduces English words to
their stems besides. Every filter is part of Elasticsearch as it is installed.
"""

from typing import Any

from backbone.search.analysis import JOINING

_FOLDING = ["cjk_width", "lowercase", "cjk_bigram"]
_HANGUL = r"\p{IsHangul}"
_OTHER = r"[\p{L}\p{Nd}&&[^\p{IsHangul}]]"

# `API를` is two words: without this a Latin word is hidden by the particle that follows it. The blank
# goes with the character behind it, so that the word before still ends at its own last character.
_BETWEEN_SCRIPTS = {
    "type": "pattern_replace",
    "pattern": f"(?<={_HANGUL}){_OTHER}|(?<={_OTHER}){_HANGUL}",
    "replacement": " $0",
}
_KEYWORD = {"type": "keyword"}


def index_body(*, between_scripts: bool = True) -> dict[str, Any]:
    """Return what an index is made with; `between_scripts` False for a server without pattern_replace."""
    return {"settings": _settings(between_scripts), "mappings": _MAPPINGS}


def _settings(between_scripts: bool) -> dict[str, Any]:
    filters: dict[str, Any] = {
        "joining": {"type": "mapping", "mappings": [f"{mark} => -" for mark in JOINING]}
    }
    if between_scripts:
        filters["between_scripts"] = _BETWEEN_SCRIPTS
    return {
        "number_of_shards": 1,
        # A copy where there is a second node to hold it.
        "auto_expand_replicas": "0-1",
        # Named, it also keeps a shard refreshing that nobody searches: visible_version relies on it.
        "refresh_interval": "1s",
        "analysis": {
            "char_filter": filters,
            "analyzer": {
                "mixed": {
                    "type": "custom",
                    "char_filter": list(filters),
                    "tokenizer": "standard",
                    "filter": _FOLDING,
                },
                "mixed_stemmed": {
                    "type": "custom",
                    "char_filter": list(filters),
                    "tokenizer": "standard",
                    "filter": [*_FOLDING, "porter_stem"],
                },
            },
        },
    }


_MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "content": {
            "type": "text",
            "analyzer": "mixed",
            "fields": {"english": {"type": "text", "analyzer": "mixed_stemmed"}},
        },
        "author": _KEYWORD,
        "channel": _KEYWORD,
        "created_at": {"type": "date"},
        "updated_at": {"type": "date"},
        "mentions": _KEYWORD,
        "has_attachment": {"type": "boolean"},
        "parent_id": _KEYWORD,
        "private": {"type": "boolean"},
        "sequence": {"type": "long"},
        "version": {"type": "long"},
        "deleted": {"type": "boolean"},
    },
}
