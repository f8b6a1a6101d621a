"""Marks the words of a query in a text, as Elasticsearch's highlighter does; pure.

Guarantees: nothing of the text is changed but for the marks; fragments are short and few, however
long the text, and the text is analysed no further than to the last of them.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from backbone.search import SearchQuery
from backbone.search.embedded.forms import COLUMNS, FormPlaces, Terms, terms_sought
from backbone.search.readings import Form, Part, reading_of_phrase, readings_of_words

# What Elasticsearch takes where a request says nothing.
FRAGMENTS_MAX = 5
FRAGMENT_CHARACTERS = 100
_OPENING, _CLOSING = "<em>", "</em>"

Span = tuple[int, int]


class Needle(NamedTuple):
    """Terms that stand side by side, with a blank on either side; the last is a beginning without one."""

    terms: str
    length: int
    form: Form


Needles = tuple[Needle, ...]
"""What stands for one reading of a word: each of them must be there."""


def needles(query: SearchQuery) -> list[Needles]:
    """Return what the query looks for: each way to read its words, and its phrases."""
    phrases = filter(None, map(reading_of_phrase, query.phrases))
    readings = (*(each for found in readings_of_words(query) for each in found), *phrases)
    kept = (reading for reading in readings if all(part.form in COLUMNS for part in reading.parts))
    return list(dict.fromkeys(tuple(map(_needle, reading.parts)) for reading in kept))


def highlighted(text: str, terms: Terms, sought: Sequence[Needles]) -> tuple[str, ...]:
    """Return the fragments of the text that hold the needles, marked with <em>; `terms` are its terms."""
    columns = {form: f" {column} " for form, column in zip(COLUMNS, terms, strict=True)}
    places = FormPlaces(text)
    there = [each for each in sought if all(needle.terms in columns[needle.form] for needle in each)]
    wanted = dict.fromkeys(needle for each in there for needle in each)
    # Each of these looks for its next place only when it is asked for one: late places cost nothing.
    found = heapq.merge(*(_spans(needle, columns[needle.form], places) for needle in wanted))
    return tuple(_marked(text, marks) for marks in _fragments(found))


def _needle(part: Part) -> Needle:
    terms = terms_sought(part)
    closing = "" if part.open else " "
    return Needle(f" {' '.join(terms)}{closing}", len(terms), part.form)


def _occurrences(needle: Needle, terms: str) -> Iterator[tuple[int, int]]:
    """Yield the numbers of the first and last term of each place; the search itself is linear (two-way)."""
    number = counted = 0
    at = terms.find(needle.terms)
    while at >= 0:
        number += terms.count(" ", counted, at)
        counted = at
        yield number, number + needle.length - 1
        at = terms.find(needle.terms, at + 1)


def _spans(needle: Needle, terms: str, places: FormPlaces) -> Iterator[Span]:
    for first, last in _occurrences(needle, terms):
        begin, end = places.span(needle.form, first), places.span(needle.form, last)
        if begin is None or end is None:
            return
        yield begin[0], end[1]


def _fragments(spans: Iterable[Span]) -> list[list[Span]]:
    """Put the marks that fit into one fragment together, until there are enough fragments.

    Marks that overlap become one, up to the length of a fragment: a text may be one syllable that is
    repeated from its beginning to its end.
    """
    fragments: list[list[Span]] = []
    for begin, end in spans:
        start = begin
        if fragments:
            marks = fragments[-1]
            opening, closing = marks[-1]
            if end <= closing:
                continue
            if start < closing and end - opening <= FRAGMENT_CHARACTERS:
                marks[-1] = (opening, end)
                continue
            start = max(start, closing)
            if end - marks[0][0] <= FRAGMENT_CHARACTERS:
                marks.append((start, end))
                continue
        if len(fragments) == FRAGMENTS_MAX:
            break
        fragments.append([(start, end)])
    return fragments


def _marked(text: str, marks: list[Span]) -> str:
    first, last = marks[0][0], marks[-1][1]
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
    for opening, closing in marks:
        parts += [text[at:opening], _OPENING, text[opening:closing], _CLOSING]
        at = closing
    return "".join([*parts, text[at:end]])
