"""The Consistency-Token: what was handed out is read, and nothing else is."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.consistency import ConsistencyToken, decode_token

TOKEN = ConsistencyToken("msg_01920000-0000-7000-8000-00000000abcd", 4711)
_ALPHABET = string.ascii_letters + string.digits + "-_"
_tokens = st.builds(
    ConsistencyToken,
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=124).map(
        "msg_".__add__
    ),
    st.integers(0, 10**18 - 1),
)


@given(_tokens)
def test_what_is_handed_out_is_read(token: ConsistencyToken) -> None:
    """In characters that a header carries."""
    assert decode_token(token.encode()) == token
    assert set(token.encode()) <= set(_ALPHABET)


def test_one_that_was_cut_is_none() -> None:
    """At either end, anywhere."""
    text = TOKEN.encode()
    for place in range(1, len(text)):
        for part in (text[:place], text[place:]):
            with pytest.raises(ValueError, match="not a Consistency-Token"):
                decode_token(part)


def test_one_that_was_changed_is_none() -> None:
    """In any one character, to any other; nor one with something before or behind it."""
    text = TOKEN.encode()
    changed = [
        f"{text[:place]}{other}{text[place + 1 :]}"
        for place in range(len(text))
        for other in _ALPHABET
        if other != text[place]
    ]
    for each in [*changed, f"{text}=", f"{text}==", f" {text}", f"{text}A", text * 2, text.lower()]:
        with pytest.raises(ValueError, match="not a Consistency-Token"):
            decode_token(each)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    """As ValueError, whatever it holds."""
    try:
        token = decode_token(text)
    except ValueError:
        return
    assert token.encode() == text
