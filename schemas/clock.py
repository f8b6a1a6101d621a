"""Moments on the wire: epoch milliseconds inside, RFC 3339 UTC with milliseconds outside."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The length of what `format_ms` gives.
_OURS = 24

# The standard library reads much more than RFC 3339 (week dates, `20260131T09Z`), and more with each release.
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


def format_ms(epoch_ms: int) -> str:
    """Return `epoch_ms` as RFC 3339, always with three digits of milliseconds and `Z`."""
    second, milliseconds = divmod(epoch_ms, 1000)
    return f"{_formatted(second)}.{milliseconds:03}Z"


def parse_ms(text: str) -> int:
    """Return the epoch milliseconds of an RFC 3339 time with any offset.

    Raises ValueError for anything else, a time without an offset included.
    """
    if len(text) == _OURS and text[19] == "." and text[20:23].isdecimal() and text[20:].isascii():
        # What is wrong is told of the whole text.
        with suppress(ValueError):
            return _parsed(text[:19] + text[23:]) * 1000 + int(text[20:23])
    return _parsed_ms(text)


# What is read or written together happened together: most moments share their second with others.
@lru_cache(maxsize=4096)
def _formatted(epoch_s: int) -> str:
    return (_EPOCH + timedelta(seconds=epoch_s)).replace(tzinfo=None).isoformat(timespec="seconds")


@lru_cache(maxsize=4096)
def _parsed(text: str) -> int:
    return _parsed_ms(text) // 1000


def _parsed_ms(text: str) -> int:
    upper = text.upper()
    if not _RFC_3339.fullmatch(upper):
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-01-31T09:00:00.000Z")
    try:
        moment = datetime.fromisoformat(upper).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the years 1 to 9999") from None
    return (moment - _EPOCH) // timedelta(milliseconds=1)
