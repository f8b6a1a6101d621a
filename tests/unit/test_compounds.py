"""The parts of words that were put together, and what Elasticsearch is told to take away around them."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.search.analysis import TOKEN_MAX_CHARACTERS
from backbone.search.compounds import FIRST_LETTERS, NAMES, NO_PARTS, parted, parts_of

PIECES = [*"aAbB가나앱팀을 .2_é日\n", "Order", "HTTP", "API", "s", "모바일", "에서", "GitHub", "a" * 300]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("OrderService", "order service"),
        ("orderService를", "order service"),
        ("HTTPServer", "http server"),
        ("parseJSON2", "parse json"),
        ("XMLHttpRequest", "xml http request"),
        ("listAPIs", "list apis"),
        ("OAuth", "o auth"),
        ("maeari Maeari MAEARI APIs IDs v2", ""),
        ("GitHub JavaScript iPhone", ""),
        ("MyGitHubClient", "my github client"),
        ("모바일앱 안드로이드앱을 디자인팀에서 기본값", "앱 앱 팀 값"),
        ("스팀을 로봇 구글 인터넷", ""),
    ],
)
def test_the_parts_of_words(text: str, parts: str) -> None:
    """Those of camelCase, and short nouns at the end of longer ones; each where it stands in the text."""
    found = list(parts_of(text))
    assert " ".join(part for part, _, _ in found) == parts
    assert all(text[start:end].lower() == part for part, start, end in found)


@pytest.mark.parametrize(
    ("word", "apart"), [("OrderService", "Order Service"), ("service", "service"), ("GitHub", "Github")]
)
def test_a_word_with_blanks_between_its_parts(word: str, apart: str) -> None:
    """As it is looked for."""
    assert parted(word) == apart


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_what_is_left_between_what_is_taken_away_are_the_parts(text: str) -> None:
    """The two expressions for a server that can only replace say the same."""
    for name, plain in NAMES.items():
        text = text.replace(name, plain)
    left = re.sub(FIRST_LETTERS, r" \g<0>", re.sub(NO_PARTS, " ", text)).lower().split()
    size = TOKEN_MAX_CHARACTERS
    cut = [part[start : start + size] for part in left for start in range(0, len(part), size)]
    assert cut == [part for part, _, _ in parts_of(text)]


@pytest.mark.parametrize("text", ["a" * 40_000, "A" * 40_000, "aB" * 20_000, "AAb" * 13_000, "가" * 40_000])
def test_long_words_take_no_longer_than_long_texts(text: str) -> None:
    """No run of letters is read again from its next letter: that would take minutes."""
    begun = time.perf_counter()
    list(parts_of(text))
    re.sub(NO_PARTS, " ", text)
    assert time.perf_counter() - begun < 5
