"""Other people's texts as they may be printed on a terminal: in one line, and as nothing but text."""

import unicodedata

# Control characters, and what parts lines; and marks that turn the direction of all that follows.
_UNFIT = {"Cc", "Zl", "Zp", "Cs"}
_TURNING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def printable(text: str) -> str:
    """Return the text; what a terminal would not print as it stands is written as `\\n` or `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in _TURNING or unicodedata.category(character) in _UNFIT:
        return character.encode("unicode_escape").decode()
    return character
