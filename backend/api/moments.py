"""Moments in queries: RFC 3339, as people and programs write it into a URL."""

import re

from backend.domain.rejections import Invalid
from schemas.clock import parse_ms

# A `+` that was not escaped arrives as a blank.
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?)"
    r"([Zz]|[-+ ](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


def moment_of(field: str, text: str) -> int:
    """Return the epoch milliseconds. Raises Invalid."""
    parts = _MOMENT.fullmatch(text)
    try:
        if parts is None:
            raise ValueError(text)
        day, time, offset = parts.groups()
        return parse_ms(f"{day}T{time}{offset.replace(' ', '+')}")
    except ValueError:
        raise Invalid(field, "not an RFC 3339 time with its offset, such as 2026-01-31T09:00:00Z") from None
