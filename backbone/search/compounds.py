"""The parts of words that were put together: `OrderService`, and short nouns at the end of Korean ones; pure.

    OrderService, parseHTTPBody2, listAPIs    Order, Service; parse, HTTP, Body; list, APIs
    안드로이드앱을, 기본값                      앱; 값

Guarantees: words that are not put together have no parts; the expressions mean the same to Python and to
Java, and take time in proportion to the text: no run of letters is read again from its next letter.
"""

import re
from collections.abc import Iterator

from backbone.search.analysis import TOKEN_MAX_CHARACTERS

# Names whose parts mean something else: who looks for `java` or `hub` does not mean them. The same length,
# so that everything stays where it is.
_NAMES = """
    GitHub GitLab JavaScript TypeScript CoffeeScript YouTube LinkedIn PowerPoint WordPress WiFi iPhone iPad
    iOS macOS
"""
NAMES = {name: name[0] + name[1:].lower() for name in _NAMES.split()}
# Nouns of one syllable that are words at the end of what has three and more, and hardly by accident.
LAST_SYLLABLES = "앱팀값봇폰툴창탭글웹맵"
_PARTICLES = """
    은 는 이 가 을 를 의 에 도 만 과 와 로 으로 에서 에서는 에서도 에는 에도 에만 들 들은 들이 들을 들의 까지
    부터 이나 이랑 이라 이란 이며 이고 이면 이라서 입니다 이다 이에요 인데 인가요 보다 처럼 마다 별 용
"""

_LAST = f"[{LAST_SYLLABLES}](?=(?:{'|'.join(_PARTICLES.split())})?(?![가-힣]))"
_PARTS = (
    "(?<![A-Z])[A-Z]+(?=[A-Z][a-z]{2})",
    "(?<![A-Za-z])[A-Z]*[a-z]++(?=[A-Z])",
    "(?<=[a-z])[A-Z]+[a-z]*",
    "(?<=[A-Z])[A-Z][a-z]{2,}",
    f"(?<=[가-힣]{{2}}){_LAST}",
)
# The same from the other side, for who can only replace: whatever is no part,
NO_PARTS = "|".join(
    [
        "(?<![A-Za-z])[A-Z]?[a-z]++(?![A-Z])",
        "(?<![A-Za-z])[A-Z]++[a-z]?(?![A-Za-z])",
        f"(?<![가-힣])[가-힣]{{2,}}?(?={_LAST})",
        f"(?<=[가-힣]{{2}}[{LAST_SYLLABLES}])(?:{'|'.join(_PARTICLES.split())})(?![가-힣])",
        "(?<![가-힣])[가-힣]++",
        "[^A-Za-z가-힣]++",
    ]
)
# and the first letter of each part that touches another. A capital behind a small letter begins a part, and
# so does one behind a capital if two small ones follow: one alone is a plural, as in `APIs`.
_CAPITAL = "(?<=[a-z])[A-Z]|(?<=[A-Z])[A-Z](?=[a-z]{2})"
FIRST_LETTERS = f"{_CAPITAL}|(?<=[가-힣])[A-Za-z]|(?<=[A-Za-z])[가-힣]"

_PART, _FIRST = re.compile("|".join(_PARTS)), re.compile(_CAPITAL)
_NAME = re.compile("|".join(NAMES))


def parts_of(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the parts of the words of a text in order, each in lower case, with its start and end."""
    for match in _PART.finditer(_plain_names(text)):
        for start in range(match.start(), match.end(), TOKEN_MAX_CHARACTERS):
            end = min(match.end(), start + TOKEN_MAX_CHARACTERS)
            yield match.string[start:end].lower(), start, end


def parted(word: str) -> str:
    """Return a word with blanks between its parts: `Order Service`."""
    return _FIRST.sub(r" \g<0>", _plain_names(word))


def _plain_names(text: str) -> str:
    return _NAME.sub(lambda match: NAMES[match.group()], text)
