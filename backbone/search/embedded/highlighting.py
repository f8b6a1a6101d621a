"""Marks the words of a query in a text, as Elasticsearch's highlighter does; pure.

Guarantees: nothing of the text is changed but for the marks; fragments are short and few, however
long the text.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backbone.search import SearchQuery
from backbone.search.analysis import Token, is_open, tokens
from backbone.search.embedded.stemming import stems

FRAGMENTS_MAX = 5
FRAGMENT_CHARACTERS = 100
_OPENING, _CLOSING = "<em>", "</em>"


class Needle(NamedTuple):
    """Terms that stand side by side; the last one of an `open` needle is only a beginning."""

    terms: tuple[str, ...]
    stemmed: bool
    open: bool


def needles(query: SearchQuery) -> list[Needle]:
    """Return what the query looks for: words by their stems, phrases as they are written."""
    words = (_needle(word, stemmed=True) for word in query.words)
    phrases = (_needle(phrase, stemmed=False) for phrase in query.phrases)
    return [needle for needle in (*words, *phrases) if needle.terms]


def highlighted(text: str, sought: Sequence[Needle]) -> tuple[str, ...]:
    """Return the fragments of the text that hold the needles, marked with <em>."""
    found = tokens(text)
    exact, stemmed = [token.term for token in found], stems(found)
    spans = _merged(
        sorted(
            span
            for needle in sought
            for span in _occurrences(needle, stemmed if needle.stemmed else exact, found)
        )
    )
    return tuple(_marked(text, group) for group in _grouped(spans)[:FRAGMENTS_MAX])


def _needle(text: str, *, stemmed: bool) -> Needle:
    found = tokens(text)
    terms = stems(found) if stemmed else [token.term for token in found]
    return Needle(tuple(terms), stemmed, is_open(found))


def _occurrences(needle: Needle, terms: list[str], found: list[Token]) -> Iterator[tuple[int, int]]:
    *whole, last = needle.terms
    length = len(needle.terms)
    for i in range(len(terms) - length + 1):
        end = terms[i + length - 1]
        if terms[i : i + length - 1] == whole and (end == last or (needle.open and end.startswith(last))):
            yield found[i].start, found[i + length - 1].end


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _grouped(spans: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Put the marks that fit into one fragment together."""
    groups: list[list[tuple[int, int]]] = []
    for span in spans:
        if groups and span[1] - groups[-1][0][0] <= FRAGMENT_CHARACTERS:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _marked(text: str, spans: list[tuple[int, int]]) -> str:
    first, last = spans[0][0], spans[-1][1]
    room = max(0, FRAGMENT_CHARACTERS - (last - first)) // 2
    start, end = max(0, first - room), min(len(text), last + room)
    # Cut between words where a space is near enough.
    if start > 0:
        start = text.find(" ", start, first) + 1 or start
    if end < len(text):
        space = text.rfind(" ", last, end)
        end = end if space < 0 else space
    parts: list[str] = []
    at = start
    for opening, closing in spans:
        parts += [text[at:opening], _OPENING, text[opening:closing], _CLOSING]
        at = closing
    return "".join([*parts, text[at:end]])
