"""The Porter stemmer: English words to the stem that their forms share.

The algorithm of M. F. Porter, "An algorithm for suffix stripping" (1980), with the two later
departures of its author, as Lucene's `porter_stem` has it: both search adapters then agree.
"""

from functools import lru_cache

from backbone.search.analysis import Token

_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble",
    "alli": "al", "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate",
    "ator": "ate", "alism": "al", "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al",
    "iviti": "ive", "biliti": "ble", "logi": "log",
}  # fmt: skip
_STEP_3 = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
}  # fmt: skip
_STEP_4 = dict.fromkeys(
    ("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "sion", "tion",
     "ou", "ism", "ate", "iti", "ous", "ive", "ize"),
    "",
)  # fmt: skip
_STEP_4 |= {"sion": "s", "tion": "t"}


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the stem of a lower-case word; words of other languages stay nearly always as they are."""
    if len(word) <= 2:
        return word
    word = _past_and_gerund(_plural(word))
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _STEP_2, least=1)
    word = _replaced(word, _STEP_3, least=1)
    word = _replaced(word, _STEP_4, least=2)
    return _final_e_and_l(word)


def _shape(word: str) -> str:
    """Return the word with `v` for each vowel and `c` for each consonant."""
    shape: list[str] = []
    for letter in word:
        if letter in "aeiou":
            shape.append("v")
        elif letter == "y":
            shape.append("v" if shape and shape[-1] == "c" else "c")
        else:
            shape.append("c")
    return "".join(shape)


def _measure(word: str) -> int:
    """Count the times that a consonant follows a vowel: m in [C](VC){m}[V]."""
    return _shape(word).count("vc")


def _ends_consonant_vowel_consonant(word: str) -> bool:
    return _shape(word)[-3:] == "cvc" and word[-1] not in "wxy"


def _ends_doubled(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _shape(word)[-1] == "c"


def _plural(word: str) -> str:
    if not word.endswith("s"):
        return word
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word if word.endswith("ss") else word[:-1]


def _past_and_gerund(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        if word.endswith(ending):
            rest = word[: -len(ending)]
            return _restored(rest) if "v" in _shape(rest) else word
    return word


def _restored(rest: str) -> str:
    """Give back the letter that a word loses, or take the one that it doubles, before -ed and -ing."""
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if _ends_doubled(rest):
        return rest if rest[-1] in "lsz" else rest[:-1]
    if _measure(rest) == 1 and _ends_consonant_vowel_consonant(rest):
        return rest + "e"
    return rest


def _replaced(word: str, endings: dict[str, str], least: int) -> str:
    """Replace the longest ending of the table, where what stands before it measures enough."""
    found = max((ending for ending in endings if word.endswith(ending)), key=len, default=None)
    if found is None:
        return word
    shorter = word[: -len(found)]
    kept = shorter + endings[found]
    measured = kept if found in ("sion", "tion") and least == 2 else shorter
    return kept if _measure(measured) >= least else word


def _final_e_and_l(word: str) -> str:
    if word.endswith("e"):
        rest = word[:-1]
        measure = _measure(rest)
        if measure > 1 or (measure == 1 and not _ends_consonant_vowel_consonant(rest)):
            word = rest
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word


def stems(found: list[Token]) -> list[str]:
    """Return the terms with English words reduced to their stems."""
    return [stem(token.term) for token in found]
