"""What people ask for of a record, beside its bytes: pure. What it does not say in its place is None."""

from typing import Any

import msgspec

from backbone.eventlog import Record

_ABSENT = msgspec.Raw()
_INTEGERS = range(-(2**63), 2**63)


class Typed(msgspec.Struct, frozen=True):
    """The fields of an event, a state or a letter; the moment is in epoch milliseconds."""

    event_id: str | None = None
    event_type: str | None = None
    event_timestamp: int | None = None
    sequence: int | None = None
    version: int | None = None
    seq: int | None = None
    channel_id: str | None = None
    message_id: str | None = None
    author_id: str | None = None
    user_id: str | None = None
    parent_id: str | None = None
    content: str | None = None
    private: bool | None = None
    deleted: bool | None = None


class _Fields(msgspec.Struct, frozen=True):
    """An envelope, or what is in it: whatever stands there, of whatever kind."""

    event_id: Any = None
    event_type: Any = None
    timestamp: Any = None
    sequence: Any = None
    version: Any = None
    seq: Any = None
    channel_id: Any = None
    message_id: Any = None
    author_id: Any = None
    user_id: Any = None
    parent_id: Any = None
    content: Any = None
    private: Any = None
    deleted: Any = None
    payload: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT


_NOTHING = Typed()
_EMPTY = _Fields()
_decode = msgspec.json.Decoder(_Fields).decode


def typed(record: Record) -> Typed:
    """Return the columns of a record. Never raises: what cannot be read says nothing."""
    if not record.value:
        return _NOTHING
    outer = _read(record.value)
    # A state has no envelope: what an event has in its payload stands right there.
    within = outer if outer.payload is _ABSENT else _read(outer.payload)
    place = _EMPTY if within.data is _ABSENT else _read(within.data)
    return Typed(
        event_id=_text(outer.event_id),
        event_type=_text(outer.event_type) or _header(record, "event_type"),
        event_timestamp=_integer(outer.timestamp),
        sequence=_integer(outer.sequence),
        version=_integer(within.version),
        seq=_integer(outer.seq),
        channel_id=_text(within.channel_id) or _text(place.channel_id),
        message_id=_text(within.message_id) or _text(place.message_id),
        author_id=_text(within.author_id),
        user_id=_text(within.user_id),
        parent_id=_text(within.parent_id),
        content=_text(within.content),
        private=_truth(outer.private),
        deleted=_truth(within.deleted),
    )


def _read(data: bytes | msgspec.Raw) -> _Fields:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _EMPTY


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value in _INTEGERS else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _header(record: Record, name: str) -> str | None:
    for each, value in record.headers:
        if each == name:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None
