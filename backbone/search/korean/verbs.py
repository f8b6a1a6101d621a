"""The forms of a verb: `바꿨어요` is `바꾸` with an ending, which texts also have as 바꿔, 바꾼, 바꿀; pure.

Stems of two syllables or more by their endings, and common ones by endings that nouns have too (바뀐, 고칠,
지우기); a single syllable is in too many words, but for those of `stems.STEM_SYLLABLES`.
"""

from collections.abc import Iterator
from functools import lru_cache

from backbone.search.korean.letters import NO_FINAL, final_of, vowel_of, with_final, with_vowel
from backbone.search.korean.stems import COMMON_STEMS, STEM_SYLLABLES

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
# What nouns end in too, or begin with; a dot stands for nothing.
_ENDINGS_OF_COMMON_STEMS = {
    "past": "던데 었는데 을때 을지 음을 음에도",
    "vowel": """
        . 야죠 야지요 야함 야해요 야합니다 라 줄게요 주실 주시면 주셔서 주신 줬 준 주기 주고 주는 드릴게요
        드렸어요 드립니다 보니 보면 보고 봤 봤는데 봤어요 봐요 볼까요 두었 뒀 버렸 버렸어요 버린 있는 있어요
        있습니다 진 졌다 졌어요 졌습니다
        """,
    "stem": """
        . 기 기도 기만 기에 기로 기까지 기전 기위해 게 게끔 거든요 고요 고서 던 든 지 지요 죠 지는 지도 자
        자고 니 니까 며 나 신 실 실까요 시면 셔서 셨 셨나요 셨어요 십시오 십니다 려던 려는 더라 더니 구나
        군요 느라 다가 다고 다는 다면 은 음 음을 음이 을 을까 을까요 을게 을게요 을지 을때 을수 은지 은데
        은데요 으며 으니까 으신 으실 아 아서 아요 아도 았 어 어서 어요 어도 었 는중 네 냐 는다 는다고
        """,
    "ㄹ": ". 지 지도 거 것 건 걸 듯 래 래요 수록 거예요 때는 때도 수도 수는 수가 텐데 예정",
    "ㄴ": ". 다면 지 가 가요 거 것 걸 후 채 다음 데요 데다 대 대요",
    "ㅁ": ". 이 을 은 에 으로 과 도",
}
_AFTER_COMMON = {
    what: _AFTER.get(what, frozenset()) | {ending.replace(".", "") for ending in endings.split()}
    for what, endings in _ENDINGS_OF_COMMON_STEMS.items()
} | {"ㅂ": _AFTER["ㅂ"]}
# How the last vowel of a stem and 어 or 아 become one, and back.
_CONTRACTED = {"ㅣ": "ㅕ", "ㅜ": "ㅝ", "ㅗ": "ㅘ", "ㅚ": "ㅙ"}
_PARTED = {contracted: vowel for vowel, contracted in _CONTRACTED.items()} | {"ㅐ": "ㅐ", "ㅔ": "ㅔ"}
# 끝났다 is of 끝나다; without the past nothing tells it from a noun.
_PARTED_IN_THE_PAST = {"ㅏ": "ㅏ", "ㅓ": "ㅓ"}
# 나빠 is of 나쁘다, 바껴 how many write 바뀌어: of stems that are known.
_PARTED_IF_COMMON = {"ㅏ": "ㅏㅡ", "ㅓ": "ㅓㅡ", "ㅕ": "ㅕㅟ"}
# Nouns of their own by now: who asks for one does not mean the verb, nor the other way round.
_NOUNS = frozenset(["알림", "모임", "느낌", "나눔", "올림", "움직임", "그림", "돌림"])
# What 지다 stands behind, as in 지워지다, 만들어지다.
_BEFORE_PASSIVES = frozenset("어아워와여려쳐켜져겨혀춰꿔러라")
_SHORTEST_STEM, _LONG_STEM = 2, 4


@lru_cache(maxsize=4_096)
def verb_forms(word: str) -> tuple[str, ...]:
    """Return the beginnings of the forms of the verb that a word of syllables may be, without the word."""
    stem = _common_stem_of(word) or _stem_of(word)
    # A long word that would be its own stem is hardly a verb.
    if stem is None or (stem == word and len(stem) >= _LONG_STEM):
        return ()
    return tuple(form for form in dict.fromkeys(_forms(stem)) if form != word and form not in _NOUNS)


def stem_syllable(word: str) -> str | None:
    """Return the syllable that all forms of the verb begin with, which a word of syllables may be: 찾은."""
    head, ending = word[:1], word[1:]
    if head not in STEM_SYLLABLES:
        return None
    if ending[:1] and with_final(ending[0], NO_FINAL) in "아어" and final_of(ending[0]) == "ㅆ":
        return head if not ending[1:] or ending[1:] in _AFTER["past"] | _AFTER_COMMON["past"] else None
    if ending[:1] in ("아", "어"):
        return head if ending[1:] in _AFTER["vowel"] | _AFTER_COMMON["vowel"] else None
    return head if ending and ending in _AFTER["stem"] | _AFTER_COMMON["stem"] else None


def _common_stem_of(word: str) -> str | None:
    """Return the longest stem of a verb that is known, with any of its endings."""
    if word in _NOUNS:
        return None
    for length in range(len(word), _SHORTEST_STEM - 1, -1):
        before, last, ending = word[: length - 1], word[length - 1], word[length:]
        for stem in _common_candidates(before, last, ending):
            if stem in COMMON_STEMS or _is_passive(stem):
                return stem
    return None


def _is_passive(stem: str) -> bool:
    return len(stem) > _SHORTEST_STEM and stem[-1] == "지" and stem[-2] in _BEFORE_PASSIVES


def _common_candidates(before: str, last: str, ending: str) -> Iterator[str]:
    """Yield what the stem of a word may be that is `before`, a syllable and an ending."""
    final, bare = final_of(last), before + with_final(last, NO_FINAL)
    if final == "ㅆ":
        if ending and ending not in _AFTER["past"] | _AFTER_COMMON["past"]:
            return
        yield from _uncontracted(before, last)
        return
    if ending in _AFTER["stem"] | _AFTER_COMMON["stem"]:
        yield from _irregular(before + last)
    if final in _AFTER_COMMON and ending in _AFTER_COMMON[final]:
        yield from _irregular(bare)
    if final == NO_FINAL and ending in _AFTER["vowel"] | _AFTER_COMMON["vowel"]:
        yield from _uncontracted(before, last)


def _irregular(stem: str) -> Iterator[str]:
    """Yield a stem, and those that may look so: 만드는 of 만들, 어려운 of 어렵, 깨달은 of 깨닫."""
    yield stem
    before, last = stem[:-1], stem[-1:]
    if last and final_of(last) == NO_FINAL:
        yield before + with_final(last, "ㄹ")
    if last == "우" and before and final_of(before[-1]) == NO_FINAL:
        yield before[:-1] + with_final(before[-1], "ㅂ")
    if last and final_of(last) == "ㄹ":
        yield before + with_final(last, "ㄷ")


def _uncontracted(before: str, last: str) -> Iterator[str]:
    parted = before if last in "어아었았" else _parted(before, last)
    if parted:
        yield from _irregular(parted)
    for vowel in _PARTED_IF_COMMON.get(vowel_of(last), ""):
        yield before + with_vowel(last, vowel)


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
    elif last == "하":
        # Of 통하다 no 통합: that is a word of its own.
        yield from (before + form for form in ("하", "해", "했", "한", "할", "함", "합니"))
    elif final == NO_FINAL:
        yield from _open_forms(before, last)
    else:
        yield stem
    if final == "ㅂ":
        # 아름답다 is 아름다워 too; regular verbs have no such forms, and no text does.
        yield from _open_forms(before + with_final(last, NO_FINAL), "우")
    if final == "ㄹ" and len(stem) < _LONG_STEM:
        # 만드는, 만든 and 만듭니다 are without it.
        yield from (before + with_final(last, other) for other in (NO_FINAL, "ㄴ", "ㅂ"))
    if final == "ㄷ":
        yield before + with_final(last, "ㄹ")
    if last == "우" and len(before) > 1 and final_of(before[-1]) == NO_FINAL:
        yield before[:-1] + with_final(before[-1], "ㅂ")


def _open_forms(before: str, last: str) -> Iterator[str]:
    """Yield the forms of a stem that ends in a vowel: 바꾸, 바꿔, 바꿨, 바꾼, 바꿀, 바꿉, 바꿈."""
    yield before + last
    for contracted in _contracted(before, last):
        yield contracted
        yield contracted[:-1] + with_final(contracted[-1], "ㅆ")
    for final in "ㄴㄹㅂㅁ":
        yield before + with_final(last, final)


def _contracted(before: str, last: str) -> Iterator[str]:
    """Yield what a stem becomes with 어 or 아; 바껴 is how many write 바뀌어."""
    vowel, neighbour = vowel_of(last), before[-1:]
    dark = "ㅏ" if neighbour and vowel_of(neighbour) in "ㅏㅗ" else "ㅓ"
    if last == "르" and neighbour and final_of(neighbour) == NO_FINAL:
        yield before[:-1] + with_final(neighbour, "ㄹ") + with_vowel("라", dark)
    elif vowel == "ㅡ":
        yield before + with_vowel(last, dark)
    else:
        yield before + with_vowel(last, _CONTRACTED.get(vowel, vowel))
        if vowel == "ㅟ":
            yield before + with_vowel(last, "ㅕ")
