"""The terms of a text in every form that the search file keeps, and where they stand in the text; pure.

Guarantees: the terms of each form are those that the sub-field of its name has in Elasticsearch, whose
`korean`, of nori, has no counterpart here; a form that has nothing beyond the exact one is empty.
"""

import re
from collections.abc import Sequence
from itertools import compress, islice
from typing import NamedTuple

from backbone.search.analysis import HANGUL, Places, tokens
from backbone.search.compounds import parts_of
from backbone.search.embedded.stemming import stems
from backbone.search.korean.letters import BLANKS, initials
from backbone.search.readings import Form, Part

COLUMNS: tuple[Form, ...] = ("exact", "stemmed", "parts", "joined", "heads", "initials")
# How much a form counts in the ranking, in the order of the columns.
WEIGHTS = (1.5, 1.0, 0.6, 0.8, 0.8, 0.5)

_BLANKS_IN_KOREAN = re.compile(f"(?<=[{HANGUL}])[{BLANKS}]+(?=[{HANGUL}])")
_HANGUL_RUN = re.compile(f"[{HANGUL}]+")


class Terms(NamedTuple):
    """All terms of a text in order, parted by blanks, in each form."""

    exact: str
    stemmed: str
    parts: str
    joined: str
    heads: str
    initials: str


def terms_of(text: str) -> Terms:
    """Return the terms of a text."""
    found = tokens(text)
    without_blanks, by_initials = _BLANKS_IN_KOREAN.sub("", text), initials(text)
    return Terms(
        exact=" ".join(token.term for token in found),
        stemmed=" ".join(stems(token.term for token in found)),
        parts=" ".join(stems(part for part, _, _ in parts_of(text))),
        joined="" if without_blanks == text else _exact(without_blanks),
        heads=" ".join(head[0] for head in _HANGUL_RUN.findall(text)),
        initials="" if by_initials == text else _exact(by_initials),
    )


def terms_sought(part: Part) -> list[str]:
    """Return the terms that a part of a query looks for in the form's column."""
    found = tokens(part.text)
    terms = [token.term for token in found]
    return stems(terms) if part.form in ("stemmed", "parts") else terms


class FormPlaces:
    """Where the terms of a text stand, whichever form they are of; it is read no further than asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._exact = Places(text)
        self._parts: list[tuple[int, int]] | None = None
        self._joined: tuple[Places, Sequence[int]] | None = None

    def span(self, form: Form, number: int) -> tuple[int, int] | None:
        """Return the start and end of a term by its number, None where there are fewer."""
        if form == "heads":
            return self._head(number)
        if form == "parts":
            return self._part(number)
        if form != "joined":
            # One term for one: a stem, or initial consonants, stand where the word stands.
            return self._exact.span(number)
        if self._joined is None:
            kept = bytearray(b"\1") * len(self._text)
            for blanks in _BLANKS_IN_KOREAN.finditer(self._text):
                kept[blanks.start() : blanks.end()] = bytes(blanks.end() - blanks.start())
            places = Places(_BLANKS_IN_KOREAN.sub("", self._text))
            self._joined = places, list(compress(range(len(self._text)), kept))
        places, offsets = self._joined
        found = places.span(number)
        return None if found is None else (offsets[found[0]], offsets[found[1] - 1] + 1)

    def _part(self, number: int) -> tuple[int, int] | None:
        """Return where a part of a word that was put together stands."""
        if self._parts is None:
            self._parts = [(start, end) for _, start, end in parts_of(self._text)]
        return self._parts[number] if number < len(self._parts) else None

    def _head(self, number: int) -> tuple[int, int] | None:
        """Return where the word stands whose first syllable it is."""
        run = next(islice(_HANGUL_RUN.finditer(self._text), number, None), None)
        return None if run is None else run.span()


def _exact(text: str) -> str:
    return " ".join(token.term for token in tokens(text))
