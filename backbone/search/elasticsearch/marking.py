"""Marking the words of a query in its hits; pure.

Guarantees: marking costs no more than the beginnings of the texts do, unless nothing is found there: it is
most of the work of a search in long texts, and a text may repeat a word ten thousand times.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Clause = dict[str, Any]

# How far into a text its words are looked for at first, in characters.
BEGINNING_CHARACTERS = 5_000


def marks(words: Sequence[Clause], characters: int | None = BEGINNING_CHARACTERS) -> Clause:
    """Return what marks these words in the hits, in every form that they look for: others only cost time."""
    bound = {} if characters is None else {"max_analyzed_offset": characters}
    return {
        "fields": {"content": {"matched_fields": sorted({"content", *_fields_in(words)})}},
        # Only the words: otherwise each hit is marked by way of every private channel of the searcher.
        "highlight_query": {"bool": {"must": words}},
        "pre_tags": ["<em>"],
        "post_tags": ["</em>"],
        **bound,
    }


def unmarked(hits: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids of the hits whose words must stand farther behind than marking has looked."""
    return [
        hit["_id"]
        for hit in hits
        if "highlight" not in hit and len(hit["_source"]["content"]) > BEGINNING_CHARACTERS
    ]


def marks_of(words: Sequence[Clause], ids: Sequence[str]) -> Clause:
    """Return the search that marks the words in the whole texts of some hits."""
    return {
        "query": {"ids": {"values": ids}},
        "size": len(ids),
        "_source": False,
        "track_total_hits": False,
        "highlight": marks(words, None),
    }


def marked(hits: Sequence[dict[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
    """Give the hits what was marked in them afterwards."""
    late = {hit["_id"]: hit["highlight"] for hit in found if "highlight" in hit}
    for hit in hits:
        if hit["_id"] in late:
            hit["highlight"] = late[hit["_id"]]


def _fields_in(clause: object) -> Iterator[str]:
    """Yield the fields of the content: they are keys, and what users write never is."""
    if isinstance(clause, dict):
        for key, value in clause.items():
            if key == "content" or key.startswith("content."):
                yield key
            yield from _fields_in(value)
    elif isinstance(clause, list):
        for each in clause:
            yield from _fields_in(each)
