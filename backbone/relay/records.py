"""What an outbox row says to the log."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Row

from backbone.errors import Poison
from backbone.eventlog import Headers, NewRecord, RecordTooLarge
from schemas.events import SCHEMA_VERSION, MessagesEvent, decode, encode
from schemas.states import state_after
from schemas.topics import MESSAGES_STATE


def records_of(row: Row[Any]) -> Sequence[NewRecord]:
    """Return the records of a row: the event, and for a message's event its state behind it; or a tombstone.

    Raises Poison for a row that no log takes.
    """
    try:
        records = _records_of(row)
        RecordTooLarge.check(records)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Poison(f"its body is no event: {error}") from error
    except RecordTooLarge as error:
        raise Poison(str(error)) from error
    return records


@cache
def _headers_of(kind: str) -> Headers:
    return (
        ("event_type", kind.encode()),
        ("schema_version", str(SCHEMA_VERSION).encode()),
        ("content-type", b"application/json"),
    )


def _records_of(row: Row[Any]) -> Sequence[NewRecord]:
    # States are keyed by message: whoever cannot read one, or reads a tombstone, finds the channel here.
    place = (MESSAGES_STATE.ordering_key, row.ordering_key.encode())
    if row.body is None:
        return (NewRecord(row.topic, row.record_key, row.ordering_key, None, (place,)),)
    headers = _headers_of(row.event_type)
    told = NewRecord(row.topic, row.ordering_key, row.ordering_key, row.body.encode(), headers)
    event = decode(row.body)
    if not isinstance(event, MessagesEvent):
        return (told,)
    message_id, state = event.payload.message_id, encode(state_after(event))
    state_headers = (*headers, place)
    return (told, NewRecord(MESSAGES_STATE.name, message_id, row.ordering_key, state, state_headers))
