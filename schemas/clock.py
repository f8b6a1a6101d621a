"""Moments on the wire: epoch milliseconds inside, RFC 3339 UTC with milliseconds outside."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The standard library reads much more than RFC 3339 (week dates, `20260131T09Z`), and more with each release.
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


def format_ms(epoch_ms: int) -> str:
    """Return `epoch_ms` as RFC 3339, always with three digits of milliseconds and `Z`."""
    moment = (_EPOCH + timedelta(milliseconds=epoch_ms)).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def parse_ms(text: str) -> int:
    """Return the epoch milliseconds of an RFC 3339 time with any offset.

    Raises ValueError for anything else, a time without an offset included.
    """
    upper = text.upper()
    if not _RFC_3339.fullmatch(upper):
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-01-31T09:00:00.000Z")
    try:
        moment = datetime.fromisoformat(upper).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the years 1 to 9999") from None
    return (moment - _EPOCH) // timedelta(milliseconds=1)
