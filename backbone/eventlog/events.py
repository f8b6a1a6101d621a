"""What a record says: its event or state, and the key among whose events it has a place."""

from collections.abc import Hashable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec

from backbone.errors import Poison
from backbone.eventlog import Record
from schemas.events import (
    ChannelsEvent,
    MessageEvent,
    MessagesEvent,
    StreamEvent,
    decode_stream_event,
    event_type,
)
from schemas.messages import (
    ATTACHMENTS_MAX,
    CONTENT_MAX_CHARACTERS,
    ID_MAX_CHARACTERS,
    MENTIONS_MAX,
    Message,
    MessageState,
)
from schemas.states import decode_state
from schemas.topics import TOPIC_OF_EVENT, Topic

SEQUENCE_MAX = 2**63 - 1
_ID_FIELDS = (
    "message_id",
    "channel_id",
    "author_id",
    "parent_id",
    "deleted_by",
    "user_id",
    "created_by",
    "changed_by",
)


def read_stream_event(record: Record) -> StreamEvent:
    """Return the event of a channel's stream that a record holds.

    Raises Poison for what is no such event, is of a later version, or fits into no store.
    """
    try:
        event = decode_stream_event(record.value or b"")
    except msgspec.DecodeError as error:
        raise Poison(f"not an event of a channel: {error}") from error
    _check_ids(event.payload, "event")
    if isinstance(event, MessageEvent):
        _check_message(event)
    if TOPIC_OF_EVENT[event_type(event)].name != record.topic:
        raise Poison(f"{event_type(event)} does not belong into this topic")
    if max(event.sequence, getattr(event.payload, "sequence", 0)) > SEQUENCE_MAX:
        raise Poison("a sequence of the event is beyond 63 bits")
    _check_texts(record, event, "event")
    return event


def read_state(record: Record) -> MessageState:
    """Return the state of a message that a record of the state topic holds; a tombstone has none.

    Raises Poison for what is no state, or fits into no store.
    """
    try:
        state = decode_state(record.value or b"")
    except msgspec.DecodeError as error:
        raise Poison(f"not the state of a message: {error}") from error
    _check_ids(state, "state")
    if not state.deleted:
        _check_sizes(state)
    if not state.sequence <= state.version <= SEQUENCE_MAX:
        raise Poison(f"it is of sequence {state.sequence} and version {state.version}")
    _check_texts(record, state, "state")
    return state


def _check_ids(payload: msgspec.Struct, what: str) -> None:
    ids = [getattr(payload, name) for name in _ids_of(type(payload))]
    ids += getattr(payload, "mentions", ()) or ()
    # A part of a state that is not there, or no parent, is no id.
    if any(len(each) > ID_MAX_CHARACTERS for each in ids if each):
        raise Poison(f"an id of the {what} has more than {ID_MAX_CHARACTERS} characters")


def _check_texts(record: Record, read: object, what: str) -> None:
    # Only an escape can bring NUL into JSON: without one there is nothing to look for.
    if b"u0000" in (record.value or b"") and _holds_nul(msgspec.to_builtins(read)):
        raise Poison(f"a text of the {what} holds NUL")


def _check_message(event: MessageEvent) -> None:
    """Hold an event to what the platform itself writes: an effect may rely on it, in time and in space."""
    payload = event.payload  # type: ignore[attr-defined]
    if payload.version != event.sequence:
        raise Poison(f"its payload is of version {payload.version}, the event of sequence {event.sequence}")
    if isinstance(payload, Message):
        _check_sizes(payload)


def _check_sizes(message: Message | MessageState) -> None:
    for name, most in (("mentions", MENTIONS_MAX), ("attachments", ATTACHMENTS_MAX)):
        if len(each := getattr(message, name) or ()) > most:
            raise Poison(f"{len(each)} {name}, of {most} allowed")
    if message.content and len(message.content) > CONTENT_MAX_CHARACTERS:
        raise Poison(f"{len(message.content)} characters, of {CONTENT_MAX_CHARACTERS} allowed")


def read_message_event(record: Record) -> MessagesEvent:
    """Return the event of a message that a record holds. Raises Poison for everything else."""
    event = read_stream_event(record)
    if isinstance(event, ChannelsEvent):
        raise Poison("not an event of a message")
    return event


def ordering_key(record: Record, topic: Topic) -> str | None:
    """Return the key that the topic's records are ordered by, None where the record does not tell it.

    It stands in the payload, in a header of its name, or, where records are keyed by it, in the key; what
    is longer than an id may be is none.
    """
    for candidate in _keys(record, topic):
        if candidate:
            return candidate if len(candidate) <= ID_MAX_CHARACTERS else None
    return None


def _keys(record: Record, topic: Topic) -> Iterator[str | None]:
    yield _in_payload(record.value or b"", topic.ordering_key)
    for name, value in record.headers:
        if name == topic.ordering_key:
            with suppress(UnicodeDecodeError):
                yield value.decode()
    if topic.key == topic.ordering_key:
        yield record.key


def _in_payload(value: bytes, name: str) -> str | None:
    """Look for the key in an event's payload, or in a state, which is a payload without an envelope."""
    try:
        found: Any = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    for each in (found.get("payload"), found) if isinstance(found, dict) else ():
        if isinstance(each, dict) and isinstance(each.get(name), str):
            return str(each[name])
    return None


@cache
def _ids_of(kind: Hashable) -> tuple[str, ...]:
    """Return the fields of a payload that hold ids."""
    return tuple(name for name in _ID_FIELDS if hasattr(kind, name))


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(map(_holds_nul, value.values()))
        case list() | tuple():
            return any(map(_holds_nul, value))
        case _:
            return False
