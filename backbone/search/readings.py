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
from backbone.search.analysis import HANGUL, Token, is_open, tokens
from backbone.search.compounds import LAST_SYLLABLES, parted
from backbone.search.korean.letters import SYLLABLES, ending_in_finals, final_of, half_typed, initials_sought
from backbone.search.korean.nouns import bases
from backbone.search.korean.verbs import stem_syllable, verb_forms

Form = Literal["exact", "stemmed", "parts", "joined", "heads", "initials", "korean"]
"""A way in which texts are cut into terms: as written, with English stems, by the parts of words that
were put together (`OrderService`), with the blanks between Korean words taken out, by the first syllables of
these words, by initial consonants, or by morphemes, which an index may lack."""

# Two syllables stand side by side in too many places where no word ends between them.
_JOINED_SYLLABLES_MIN = 3
# What fewer letters begin are too many words.
BEGUN_CHARACTERS_MIN = 2

# Nouns that stand behind a word without which they say nothing, with the syllables that tell them from how
# another word begins (할 수 있다, 할 수정); a dot stands for none.
_BOUND_NOUNS = {
    **{"수": "있 없 가 도 는 밖", "때": ".", "것": ".", "곳": ".", "거": "예 야 라 같", "줄": "은 을 도 알"},
    **{"적": "이 은 도", "데": "가 도 는", "번": "에 은 만 더"},
}

WORD_TERMS_MAX = 40
# What is longer is no word: nobody looks for another form of it.
_WORD_SYLLABLES_MAX = 20
_LATIN = re.compile(r"[A-Za-z]")
_LETTERS = re.compile("[a-z]+")
_LONG_RUN = re.compile(rf"([{SYLLABLES}]{{{_JOINED_SYLLABLES_MIN},}})")
_HANGUL = re.compile(f"[{HANGUL}]")
_TWO_SYLLABLES = re.compile(rf"[{SYLLABLES}]{{2}}")
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
    for before, word in zip(("", *query.words), query.words, strict=False):
        if found := readings_of_word(word, begun=word == query.begun_word):
            yield (*found, *_written_together(before, word))


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
    readings = [*_itself(word, found), *_put_together(word, found), *_of_syllables(word)]
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


def _written_together(before: str, syllable: str) -> Iterator[Reading]:
    """Yield the place of a syllable that the word before it took in: the 수 of `할 수` in 할수있다."""
    if before and _SYLLABLE_RUN.fullmatch(before[-1] + syllable) and len(syllable) == 1:
        yield Reading((Part("exact", before[-1] + syllable),), 0.8)


def _itself(word: str, found: list[Token]) -> Iterator[Reading]:
    lone = is_open(found)
    if lone and len(found) == 1 and _HANGUL.match(found[0].term):
        # A syllable alone is a word, or the head of one: in the midst of one it is something else.
        yield Reading((Part("exact", word),), 1.5)
        yield Reading((Part("heads", word),))
    else:
        yield Reading((Part("exact", word, lone),), 1.5)
        if not lone and _LATIN.search(word):
            yield Reading((Part("stemmed", word),))


def _put_together(word: str, found: list[Token]) -> Iterator[Reading]:
    """Yield a word as a part of others: Service of OrderService; and its own parts: order service."""
    if len(word) == 1 and word in LAST_SYLLABLES:
        yield Reading((Part("parts", word),), 0.4)
    if not all(_LETTERS.fullmatch(token.term) for token in found) or len(word) == 1:
        return
    apart = parted(word)
    yield Reading((Part("parts", apart),), 0.5)
    if apart.count(" ") > word.count(" "):
        yield Reading((Part("stemmed", apart),), 0.8)


def _of_syllables(word: str) -> Iterator[Reading]:
    if not 1 <= _longest_run(word) <= _WORD_SYLLABLES_MAX:
        return
    if not _ends_in_bound_noun(word):
        # Of 복구할수 nori leaves 수, as it takes verbs out.
        yield Reading((Part("korean", word),))
    yield from _over_blanks(word, 0.8)
    if _TWO_SYLLABLES.fullmatch(word):
        yield from _over_no_blank(word[0], word[1])
    for base in bases(word):
        # A syllable alone is seldom, and would outweigh the word itself.
        yield Reading((Part("exact", base),), 0.9 if len(base) > 1 else 0.05)
        if _LATIN.search(base):
            yield Reading((Part("stemmed", base),), 0.9)
            yield from _put_together(base, tokens(base))
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


def _ends_in_bound_noun(word: str) -> bool:
    before, noun = word[-2:-1], word[-1]
    return noun in _BOUND_NOUNS and _SYLLABLE_RUN.fullmatch(before) is not None and final_of(before) in "ㄴㄹ"


def _over_no_blank(before: str, noun: str) -> Iterator[Reading]:
    """Yield the two words that two syllables may be, where the second is one of few: `할수` for 할 수."""
    if noun not in _BOUND_NOUNS:
        return
    yield Reading((Part("exact", f"{before} {noun}"),), 0.8)
    if _ends_in_bound_noun(before + noun):
        for after in _BOUND_NOUNS[noun].split():
            together = before + noun + after.replace(".", "")
            yield Reading((Part("joined", together),), 0.7)
            yield Reading((Part("exact", together),), 0.7)


def _over_blanks(word: str, weight: float) -> Iterator[Reading]:
    """Yield a word whose long runs of syllables may have blanks within, with what else it consists of."""
    pieces = [piece for piece in _LONG_RUN.split(word) if tokens(piece)]
    long = [_LONG_RUN.match(piece) is not None for piece in pieces]
    if any(long):
        forms: list[Form] = ["joined" if each else "exact" for each in long]
        yield Reading(tuple(map(Part, forms, pieces)), weight)
    if any(long) and len(pieces) > 1:
        # A text without such blanks may hold the pieces all the same.
        yield Reading(tuple(Part("exact", piece) for piece in pieces), weight)


def _longest_run(word: str) -> int:
    return max(map(len, _SYLLABLE_RUN.findall(word)), default=0)


def _begun(word: str, last_term: int) -> Iterator[Reading]:
    if (half := half_typed(word)) is not None:
        done, letters = half
        found = tokens(done)
        yield Reading((Part("exact", done, is_open(found)), Part("initials", letters)), 0.4)
    elif endings := ending_in_finals(word):
        for each in endings:
            yield Reading((Part("exact", each),), 0.3)
    elif last_term >= BEGUN_CHARACTERS_MIN and not _SYLLABLE_RUN.search(word):
        yield Reading((Part("exact", word, open=True),), 0.4)
