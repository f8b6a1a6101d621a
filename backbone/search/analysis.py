"""Text to terms for mixed Korean and English: what the index settings make Elasticsearch do, in Python.

Guarantees: any text gives terms, of letters, digits, marks and emoji only, each with its place in the
text; the terms equal those of Elasticsearch's standard tokenizer, cjk_width, lowercase and cjk_bigram
behind the two character filters of `mapping.py` (rare scripts and new code points may differ).
"""

import re
import unicodedata
from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

# Unicode joins words over these (`a.b`, `a_b`, `1,000`, `it's`); here each separates, so that every
# part of `asyncio.gather` is found. A hyphen separates words in the standard tokenizer too.
JOINING = (
    "_:.,;'\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a\u2018\u2019\u2024\ufe52\uff07\uff0e\u037e\u0589"
    "\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b\u203f\u2040\u2054\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f"
)
# What changes the look of an emoji and not its meaning: presentation and skin tone.
INVISIBLE = "\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"

HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uffa0-\uffdc"
_HAN = (
    "\u2e80-\u2fd5\u3007\u3021-\u3029\u3038-\u303a\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9"
    "\U00020000-\U0003134f"
)
_KANA = (
    "\u3031-\u3035\u3041-\u3096\u309b-\u309f\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u32d0-\u32fe"
    "\u3300-\u3357\uff66-\uff9f"
)
_PAIRED = HANGUL + _HAN + _KANA

_MARK = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u06d6-\u06ed\u0900-\u0dff\u0e31-\u0e4e"
    "\u0eb1-\u0ece\u102b-\u109f\u17b4-\u17d3\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
)
# Python takes these for parts of words, Unicode's word rules do not: ², ½, ① and their like.
_ODD = (
    "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2079\u2080-\u2089\u2150-\u215f\u2460-\u249b\u24ea-\u24ff"
    "\u2776-\u2793\u3006\u3192-\u3195\u3220-\u3229\u3248-\u325f\u3280-\u3289\u32b1-\u32bf\U0001f100-\U0001f10c"
)
_PICTURE = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u2388\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2"
    "\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2714\u2716\u271d"
    "\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763-\u2767\u2795-\u2797\u27a1\u27b0\u27bf\u2934\u2935"
    "\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001f0ff\U0001f12f\U0001f16c-\U0001f171"
    "\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f1ad-\U0001f1e5\U0001f201-\U0001f20f\U0001f21a\U0001f22f"
    "\U0001f232-\U0001f23a\U0001f23c-\U0001f23f\U0001f249-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6ff"
    "\U0001f774-\U0001f77f\U0001f7d5-\U0001faff"
)
_SKIN = "\U0001f3fb-\U0001f3ff"
_EMOJI = (
    "[\U0001f1e6-\U0001f1ff]{2}|[0-9#*]\ufe0f?\u20e3"
    f"|[{_PICTURE}{_SKIN}][\ufe0f\u20e3{_SKIN}]*(?:\u200d[{_PICTURE}][\ufe0f\u20e3{_SKIN}]*)*"
)
_DIGIT = rf"(?![{_ODD}])\d"
_LETTER = rf"(?![{_PAIRED}{_ODD}])[^\W\d_]"
_TOKEN = re.compile(
    rf"(?P<emoji>{_EMOJI})|(?P<paired>[{_PAIRED}]+)|(?P<word>(?:{_DIGIT})+|(?:{_LETTER})(?:{_LETTER}|[{_MARK}])*)"
)

_LOOKS = dict.fromkeys(map(ord, INVISIBLE))
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_HALF_WIDTH = re.compile("[\uff66-\uff9f]+")
TOKEN_MAX_CHARACTERS = 255  # the standard tokenizer cuts there


class Token(NamedTuple):
    """A term and the part of the text that it stands for."""

    term: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text in order; Hangul, Han and kana in overlapping pairs."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        found.extend(_of_match(match))
    return found


class Places:
    """Where the tokens of a text stand, by their numbers; the text is read no further than is asked for."""

    def __init__(self, text: str) -> None:
        self._unread = _TOKEN.finditer(text)
        # Of each match the number of its first token, and the tokens; or None with where it starts.
        self._firsts: list[int] = []
        self._read: list[tuple[list[Token] | None, int]] = []
        self._known = 0

    def span(self, number: int) -> tuple[int, int] | None:
        """Return the start and end of a token, None where the text has fewer."""
        while number >= self._known:
            match = next(self._unread, None)
            if match is None:
                return None
            self._add(match)
        run = bisect_right(self._firsts, number) - 1
        (listed, start), within = self._read[run], number - self._firsts[run]
        if listed is None:
            return start + within, start + within + 2
        return listed[within].start, listed[within].end

    def _add(self, match: re.Match[str]) -> None:
        run = match.group()
        # Long texts are mostly this: a pair of each character and the next, which need no list.
        plain = match.lastgroup == "paired" and len(run) > 1 and not _HALF_WIDTH.search(run)
        listed = None if plain else _of_match(match)
        self._firsts.append(self._known)
        self._read.append((listed, match.start()))
        self._known += len(run) - 1 if listed is None else len(listed)


def _of_match(match: re.Match[str]) -> list[Token]:
    start, end = match.span()
    if match.lastgroup == "paired":
        return _pairs(match.group(), start)
    if match.lastgroup == "emoji":
        plain = match.group().translate(_LOOKS)
        return [Token(plain, start, end)] if plain else []
    word = match.group()
    folded = (word if word.isascii() else word.translate(_FULL_WIDTH)).lower()
    return [Token(folded, start, end)] if len(folded) <= TOKEN_MAX_CHARACTERS else _pieces(folded, start)


def is_open(found: list[Token]) -> bool:
    """Say whether the last token is a lone syllable, such as `밥`: it stands for `밥을` too.

    In the text such a syllable mostly has a neighbour and lies in the index within a pair: a search
    for it is one for the terms that begin with it.
    """
    return bool(found) and len(found[-1].term) == 1 and _LONE.match(found[-1].term) is not None


_LONE = re.compile(f"[{_PAIRED}]")


def _pairs(run: str, start: int) -> list[Token]:
    characters = _full_width_kana(run, start) if _HALF_WIDTH.search(run) else _each(run, start)
    if len(characters) == 1:
        return characters
    return [
        Token(first.term + second.term, first.start, second.end) for first, second in pairwise(characters)
    ]


def _each(run: str, start: int) -> list[Token]:
    return [Token(character, start + i, start + i + 1) for i, character in enumerate(run)]


def _full_width_kana(run: str, start: int) -> list[Token]:
    """Fold half-width kana, whose voice marks are characters of their own, one by one."""
    characters: list[Token] = []
    for i, character in enumerate(run):
        place = start + i
        if character in "\uff9e\uff9f" and characters:
            before = characters[-1]
            voiced = unicodedata.normalize("NFKC", before.term + character)
            if len(voiced) == 1:
                characters[-1] = Token(voiced, before.start, place + 1)
                continue
        folded = unicodedata.normalize("NFKC", character) if _HALF_WIDTH.match(character) else character
        characters.extend(Token(one, place, place + 1) for one in folded)
    return characters


def _pieces(word: str, start: int) -> list[Token]:
    size = TOKEN_MAX_CHARACTERS
    return [Token(word[i : i + size], start + i, start + i + size) for i in range(0, len(word), size)]
