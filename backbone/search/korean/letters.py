"""Hangul by its letters: initial and final consonants, and syllables that are only half typed; pure."""

import re

SYLLABLES = "가-힣"
# What parts words: the same few in every adapter's regular expressions.
BLANKS = " \t\n\r\f\v\u00a0\u3000"
INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_FIRST, _PER_INITIAL, _PER_VOWEL = 0xAC00, 588, 28
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
NO_FINAL = "\0"
_FINALS = NO_FINAL + "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
# Keyboards put two initials that follow one another together, where a final consonant is both.
_CLUSTERS = {
    "ㄳ": "ㄱㅅ", "ㄵ": "ㄴㅈ", "ㄶ": "ㄴㅎ", "ㄺ": "ㄹㄱ", "ㄻ": "ㄹㅁ", "ㄼ": "ㄹㅂ",
    "ㄽ": "ㄹㅅ", "ㄾ": "ㄹㅌ", "ㄿ": "ㄹㅍ", "ㅀ": "ㄹㅎ", "ㅄ": "ㅂㅅ",
}  # fmt: skip
# Some keyboards send initials as those of syllables to come (U+1100 on), not as letters of their own.
_LETTERS = {0x1100 + number: letter for number, letter in enumerate(INITIALS)}
_LETTERS |= {ord(cluster): letters for cluster, letters in _CLUSTERS.items()}

_INITIALS_ONLY = re.compile(rf"[{INITIALS}]{{2,}}")
_SYLLABLES_ONLY = re.compile(f"[{SYLLABLES}]+")
_HALF_TYPED = re.compile(rf"(?P<done>[{SYLLABLES}]+)(?P<begun>[{INITIALS}])")


def syllables_beginning(letter: str) -> str:
    """Return the range of the syllables with this initial consonant: `가-깋`."""
    first = _FIRST + INITIALS.index(letter) * _PER_INITIAL
    return f"{chr(first)}-{chr(first + _PER_INITIAL - 1)}"


def initials(text: str) -> str:
    """Return the text with each syllable replaced by its initial consonant: `배포 v2` is `ㅂㅍ v2`."""
    return "".join(_initial(character) for character in text)


def initials_sought(word: str) -> str | None:
    """Return the initial consonants that a word consists of, None where it is something else: `ㅂㅍ`."""
    letters = word.translate(_LETTERS)
    return letters if _INITIALS_ONLY.fullmatch(letters) else None


def half_typed(word: str) -> tuple[str, str] | None:
    """Return what is sure of a word whose last syllable is being typed, and the initials of all of it.

    `배ㅍ` begins with `배` and has the initials `ㅂㅍ`; `배폴` may be on its way to `배포를`: the final
    consonant of its last syllable is the initial of the next. None for every other word.
    """
    if (begun := _HALF_TYPED.fullmatch(word)) is not None:
        return begun["done"], initials(word)
    if _SYLLABLES_ONLY.fullmatch(word) is None or (len(word) == 1 and _is_in_use(word)):
        return None
    final = final_of(word[-1])
    if final not in INITIALS:
        return None
    done = word[:-1] + with_final(word[-1], NO_FINAL)
    return done, initials(done) + final


def ending_in_finals(word: str) -> list[str]:
    """Return what a word may become by the final consonant of its last syllable, which may be yet to come.

    `검새` may be on its way to `검색`. Nothing where the last of several syllables has its final consonant.
    """
    if len(word) < 2 or _SYLLABLES_ONLY.fullmatch(word) is None or final_of(word[-1]) != NO_FINAL:
        return []
    ends = (with_final(word[-1], final) for final in _FINALS[1:])
    return [word[:-1] + end for end in ends if _is_in_use(end)]


def with_final(syllable: str, final: str) -> str:
    """Return the syllable with another final consonant, or with NO_FINAL."""
    number = ord(syllable) - _FIRST
    return chr(_FIRST + number - number % _PER_VOWEL + _FINALS.index(final))


def vowel_of(syllable: str) -> str:
    """Return the vowel of a syllable."""
    return _VOWELS[(ord(syllable) - _FIRST) % _PER_INITIAL // _PER_VOWEL]


def with_vowel(syllable: str, vowel: str) -> str:
    """Return the syllable with another vowel and no final consonant."""
    number = ord(syllable) - _FIRST
    return chr(_FIRST + number - number % _PER_INITIAL + _VOWELS.index(vowel) * _PER_VOWEL)


def _is_in_use(syllable: str) -> bool:
    """Say whether the syllable is among the 2,350 of KS X 1001: others stand only on the way to another."""
    # The codec spells the others out letter by letter.
    return len(syllable.encode("euc_kr")) == 2


def _initial(character: str) -> str:
    number = ord(character) - _FIRST
    return INITIALS[number // _PER_INITIAL] if 0 <= number < _PER_INITIAL * len(INITIALS) else character


def final_of(syllable: str) -> str:
    """Return the final consonant of a syllable, or NO_FINAL."""
    return _FINALS[(ord(syllable) - _FIRST) % _PER_VOWEL]
