"""The dead letter: a refused record with its place and the reason, as JSON in `dead-letters`."""

import base64
from typing import Literal

import msgspec

from backbone.eventlog import MAX_RECORD_BYTES, NewRecord, Record
from schemas.topics import DEAD_LETTERS

_LONGEST_REASON = 2_000
_LONGEST_KEY = 2_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a refused record; `topic` is its full name.

    `value` is the record's text, base64 where that is no UTF-8, null for a tombstone or (`omitted`)
    where the letter would be too large: the record itself is where topic, partition and offset say.
    """

    group: str
    topic: str
    partition: int
    offset: int
    error: str
    key: str | None
    value: str | None
    encoding: Literal["utf-8", "base64", "omitted"]
    timestamp: int


def dead_letter(group: str, full_name: str, record: Record, reason: str) -> NewRecord:
    """Return the record that parks `record` of the topic `full_name`, in the partition of its own key."""
    place = f"{group}/{full_name}/{record.partition}/{record.offset}"
    value, encoding = _as_text(record.value)
    letter = DeadLetter(
        group=group,
        topic=full_name,
        partition=record.partition,
        offset=record.offset,
        error=reason[:_LONGEST_REASON],
        key=record.key and record.key[:_LONGEST_KEY],
        value=value,
        encoding=encoding,
        timestamp=record.timestamp_ms,
    )
    body = msgspec.json.encode(letter)
    if len(body) > MAX_RECORD_BYTES - 1_000:
        body = msgspec.json.encode(msgspec.structs.replace(letter, value=None, encoding="omitted"))
    headers = (("content-type", b"application/json"),)
    return NewRecord(DEAD_LETTERS.name, place, record.key or "", body, headers)


def _as_text(value: bytes | None) -> tuple[str | None, Literal["utf-8", "base64"]]:
    if value is None:
        return None, "utf-8"
    try:
        return value.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(value).decode(), "base64"
