"""Moments on the wire: epoch milliseconds inside, RFC 3339 UTC with milliseconds outside."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_ms(epoch_ms: int) -> str:
    """Return `epoch_ms` as RFC 3339, always with three digits of milliseconds and `Z`."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{epoch_ms % 1000:03d}Z"


def parse_ms(text: str) -> int:
    """Return the epoch milliseconds of an RFC 3339 time with any offset.

    Raises ValueError for anything else, a time without an offset included.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
