"""What a word of a query may stand for in a text: the ways in which every adapter looks for it; pure.

    배포완료했습니다  itself; without its ending; both also where blanks stand elsewhere in the text
    ㅂㅍ              the same initial consonants within a word
    deploying         its stem; where it may still be being typed, what begins with it

Guarantees: a phrase has one reading, itself; the first reading of a word is itself too.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from backbone.search import SearchQuery
from backbone.search.analysis import Token, is_open, tokens
from backbone.search.korean.letters import SYLLABLES, half_typed, initials_sought
from backbone.search.korean.nouns import bases
from backbone.search.korean.verbs import stem_syllable, verb_forms

Form = Literal["exact", "stemmed", "joined", "heads", "initials", "korean"]
"""A way in which texts are cut into terms: as written, with English stems, with the blanks between Korean
words taken out, by the first syllables of these words, by initial consonants, or by morphemes, which an index
may lack."""

# Two syllables stand side by side in too many places where no word ends between them.
_JOINED_SYLLABLES_MIN = 3
# What fewer letters begin are too many words.
BEGUN_CHARACTERS_MIN = 2

WORD_TERMS_MAX = 40
# What is longer is no word: nobody looks for another form of it.
_WORD_SYLLABLES_MAX = 20
_LATIN = re.compile(r"[A-Za-z]")
_SYLLABLE_RUN = re.compile(rf"[{SYLLABLES}]+")


class Part(NamedTuple):
    """Terms that stand side by side; where it is `open` the last one may go on."""

    form: Form
    text: str
    open: bool = False


class Reading(NamedTuple):
    """All of its parts must occur; `weight` tells how well it fits what was asked for."""

    parts: tuple[Part, ...]
    weight: float = 1.0


def readings_of_words(query: SearchQuery) -> Iterator[tuple[Reading, ...]]:
    """Yield the readings of each word that must occur and says anything."""
    for word in query.words:
        if found := readings_of_word(word, begun=word == query.begun_word):
            yield found


def readings_of_word(word: str, *, begun: bool = False) -> tuple[Reading, ...]:
    """Return the readings of a word, the best first; none where it is nothing but punctuation.

    A word of very many terms is looked for by the first of them: a text may repeat them without end.
    """
    found = tokens(word)
    if not found:
        return ()
    if len(found) > WORD_TERMS_MAX:
        return (Reading((Part("exact", word[: found[WORD_TERMS_MAX - 1].end]),)),)
    if (letters := initials_sought(word)) is not None:
        return (*_itself(word, found), Reading((Part("initials", letters),), 0.7))
    readings = [*_itself(word, found), *_of_syllables(word)]
    if begun:
        readings += _begun(word, len(found[-1].term))
    return tuple(readings)


def readings_excluded(word: str) -> tuple[Reading, ...]:
    """Return what a text must not hold where a word must not occur: the word itself, and its English forms.

    Whatever else it might stand for would hide messages that do not hold it.
    """
    found = tokens(word)
    return tuple(_itself(word, found)) if found else ()


def reading_of_phrase(phrase: str) -> Reading | None:
    """Return the reading of a phrase, None where it is nothing but punctuation."""
    found = tokens(phrase)
    return Reading((Part("exact", phrase, is_open(found)),)) if found else None


def _itself(word: str, found: list[Token]) -> Iterator[Reading]:
    lone = is_open(found)
    if lone and len(found) == 1:
        # A syllable alone is a word, or the head of one: in the midst of one it is something else.
        yield Reading((Part("exact", word),), 1.5)
        yield Reading((Part("heads", word),))
    else:
        yield Reading((Part("exact", word, lone),), 1.5)
        if not lone and _LATIN.search(word):
            yield Reading((Part("stemmed", word),))


def _of_syllables(word: str) -> Iterator[Reading]:
    if not 1 <= _longest_run(word) <= _WORD_SYLLABLES_MAX:
        return
    yield Reading((Part("korean", word),))
    yield from _over_blanks(word, 0.8)
    for base in bases(word):
        # A syllable alone is seldom, and would outweigh the word itself.
        yield Reading((Part("exact", base),), 0.9 if len(base) > 1 else 0.05)
        if _LATIN.search(base):
            yield Reading((Part("stemmed", base),), 0.9)
        yield from _over_blanks(base, 0.6)
    if not _SYLLABLE_RUN.fullmatch(word):
        return
    if (syllable := stem_syllable(word)) is not None:
        yield Reading((Part("heads", syllable),), 0.3)
    forms = verb_forms(word)
    for form in forms:
        yield Reading((Part("exact", form),), 0.7)
    if len(forms) == 1:
        yield from _over_blanks(forms[0], 0.5)


def _over_blanks(word: str, weight: float) -> Iterator[Reading]:
    if _longest_run(word) >= _JOINED_SYLLABLES_MIN:
        yield Reading((Part("joined", word),), weight)


def _longest_run(word: str) -> int:
    return max(map(len, _SYLLABLE_RUN.findall(word)), default=0)


def _begun(word: str, last_term: int) -> Iterator[Reading]:
    if (half := half_typed(word)) is not None:
        done, letters = half
        found = tokens(done)
        yield Reading((Part("exact", done, is_open(found)), Part("initials", letters)), 0.4)
    elif last_term >= BEGUN_CHARACTERS_MIN and not _SYLLABLE_RUN.search(word):
        yield Reading((Part("exact", word, open=True),), 0.4)
