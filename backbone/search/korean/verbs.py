"""The forms of a verb: `바꿨어요` is `바꾸` with an ending, which texts also have as 바꿔, 바꾼, 바꿀; pure.

Stems of two syllables or more: a single one is in too many words. Of irregular verbs those in ㅂ and 르.
"""

from collections.abc import Iterator
from functools import lru_cache

from backbone.search.korean.letters import NO_FINAL, final_of, vowel_of, with_final, with_vowel

# What follows a past stem (바꿨, 만들었), what follows 어 and 아 (바꿔, 만들어), what a bare stem (바꾸),
# and what a stem that took a consonant of its ending (바꿉, 바꾼, 바꿀).
_ENDINGS = {
    "past": """
        다 습니다 습니까 어 어요 고 고요 는데 는데요 는지 지만 으면 으며 으니 으니까 음 던 네 네요 나 나요 죠
        지요 거든요 을 을까요 다고 다는 다가 다면 잖아요 더니
        """,
    "vowel": "요 서 도 야 야지 주세요 줘 줘요 봐 보세요 볼게요 두 놓",
    "stem": """
        다 고 는 면 는데 는데요 려고 려면 면서 지만 습니다 습니까 으면 으려고 으니 는지 네요 나요 세요 으세요
        도록 거나 기가 기는 기를 자마자
        """,
    "ㅂ": "니다 니까 시다 니다만",
    "ㄴ": "다 다고 다는 데 데요",
    "ㄹ": "게 게요 까 까요 수 때",
}
_AFTER = {what: frozenset(endings.split()) for what, endings in _ENDINGS.items()}
# How the last vowel of a stem and 어 or 아 become one, and back.
_CONTRACTED = {"ㅣ": "ㅕ", "ㅜ": "ㅝ", "ㅗ": "ㅘ", "ㅚ": "ㅙ"}
_PARTED = {contracted: vowel for vowel, contracted in _CONTRACTED.items()} | {"ㅐ": "ㅐ", "ㅔ": "ㅔ"}
# 끝났다 is of 끝나다; without the past nothing tells it from a noun.
_PARTED_IN_THE_PAST = {"ㅏ": "ㅏ", "ㅓ": "ㅓ"}
_SHORTEST_STEM, _LONG_STEM = 2, 4


@lru_cache(maxsize=4_096)
def verb_forms(word: str) -> tuple[str, ...]:
    """Return the beginnings of the forms of the verb that a word of syllables may be, without the word."""
    stem = _stem_of(word)
    # A long word that would be its own stem is hardly a verb.
    if stem is None or (stem == word and len(stem) >= _LONG_STEM):
        return ()
    return tuple(form for form in dict.fromkeys(_forms(stem)) if form != word)


def _stem_of(word: str) -> str | None:
    """Return the stem with the longest ending: what is shorter is the end of that ending."""
    for length in range(_SHORTEST_STEM, len(word) + 1):
        head, ending = word[:length], word[length:]
        stem = _stem(head[:-1], head[-1], ending)
        if stem is not None:
            return stem if len(stem) >= _SHORTEST_STEM else None
    return None


def _stem(before: str, last: str, ending: str) -> str | None:
    """Return the stem of a word that is `before`, a syllable and an ending, None where they do not fit.

    The stem is empty where they fit and are no verb of its own: 하다 stands behind nouns, see `nouns.bases`.
    """
    final = final_of(last)
    if final == "ㅆ":
        if ending and ending not in _AFTER["past"]:
            return None
        return before if last in "었았" else _parted(before, last)
    if ending in _AFTER["stem"]:
        return before + last
    if ending in _AFTER.get(final, ()):
        return before + with_final(last, NO_FINAL)
    if final == NO_FINAL and (ending in _AFTER["vowel"] or not ending):
        return (before if ending else None) if last in "어아" else _parted(before, last)
    return None


def _parted(before: str, last: str) -> str | None:
    """Return a stem out of its contraction with 어 or 아: 바꿔, 고쳐, and 서둘러, of 서두르."""
    if with_final(last, NO_FINAL) in "라러" and before and final_of(before[-1]) == "ㄹ":
        return before[:-1] + with_final(before[-1], NO_FINAL) + "르"
    if last in "해했":
        return ""
    past = final_of(last) == "ㅆ"
    vowel = _PARTED.get(vowel_of(last)) or (_PARTED_IN_THE_PAST.get(vowel_of(last)) if past else None)
    return None if vowel is None else before + with_vowel(last, vowel)


def _forms(stem: str) -> Iterator[str]:
    before, last = stem[:-1], stem[-1]
    final = final_of(last)
    if len(stem) >= _LONG_STEM:
        # What all its forms begin with tells it well enough.
        yield before
    elif final == NO_FINAL:
        yield from _open_forms(before, last)
    else:
        yield stem
    if final == "ㅂ":
        # 아름답다 is 아름다워 too; regular verbs have no such forms, and no text does.
        yield from _open_forms(before + with_final(last, NO_FINAL), "우")
    if last == "우" and final_of(before[-1]) == NO_FINAL:
        yield before[:-1] + with_final(before[-1], "ㅂ")


def _open_forms(before: str, last: str) -> Iterator[str]:
    """Yield the forms of a stem that ends in a vowel: 바꾸, 바꿔, 바꿨, 바꾼, 바꿀, 바꿉, 바꿈."""
    yield before + last
    if last == "르" and before and final_of(before[-1]) == NO_FINAL:
        contracted = with_final(before[-1], "ㄹ") + ("라" if vowel_of(before[-1]) in "ㅏㅗ" else "러")
        contracted = before[:-1] + contracted
    else:
        contracted = before + with_vowel(last, _CONTRACTED.get(vowel_of(last), vowel_of(last)))
    yield contracted
    yield contracted[:-1] + with_final(contracted[-1], "ㅆ")
    for final in "ㄴㄹㅂㅁ":
        yield before + with_final(last, final)
