"""What a record says: its event, checked, and the key among whose events it has a place."""

import json
from typing import Any

import pytest

from backbone.errors import Poison
from backbone.eventlog import Headers, Record
from backbone.eventlog.events import ordering_key, read_message_event, read_state, read_stream_event
from schemas.topics import (
    CHANNELS_CHANGED,
    DEAD_LETTERS,
    MESSAGES_CREATED,
    MESSAGES_STATE,
    NOTIFICATIONS_SENT,
    Topic,
)
from tests.unit.test_schemas import golden


def record(
    value: bytes | None, key: str | None = "k", headers: Headers = (), topic: Topic = MESSAGES_CREATED
) -> Record:
    return Record(topic.name, 0, 0, key, value, headers, 0)


def changed(of_event: int | None = None, **fields: Any) -> Record:
    """Return the record of a golden event with other fields in its payload, or with another `sequence`."""
    event = json.loads(golden("message.created"))
    event["sequence"] = of_event or event["sequence"]
    event["payload"] |= {"version": event["sequence"], **fields}
    return record(json.dumps(event).encode())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(b""), "not an event"),
        (record(b"null"), "not an event"),
        (record(golden("notification.sent")), "not an event of a channel"),
        (changed(content="a\0b"), "NUL"),
        (changed(mentions=["a", "b\0"]), "NUL"),
        (changed(channel_id="c" * 129), "128 characters"),
        (changed(mentions=["m" * 129]), "128 characters"),
        (changed(parent_id="p" * 129), "128 characters"),
        (changed(sequence=2**63), "63 bits"),
        (changed(of_event=2**63), "63 bits"),
        (changed(version=7), "version 7, the event of sequence 42"),
        (changed(mentions=["m"] * 101), "101 mentions, of 100"),
        (changed(content="c" * 40_001), "40001 characters"),
        (changed(attachments=[{"name": "n", "url": "http://h/"}] * 21), "21 attachments"),
        (record(golden("message.updated")), "message.updated does not belong into this topic"),
    ],
)
def test_what_no_store_takes_is_poison(bad: Record, reason: str) -> None:
    """Each consumer refuses the same records, and says why."""
    with pytest.raises(Poison, match=reason):
        read_stream_event(bad)


def state(**fields: Any) -> Record:
    """Return the record of the state of a golden message with other fields."""
    payload = json.loads(golden("message.created"))["payload"]
    return record(json.dumps({**payload, **fields}).encode(), topic=MESSAGES_STATE)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(b"{}", topic=MESSAGES_STATE), "not the state of a message"),
        (record(b"\xff", topic=MESSAGES_STATE), "not the state of a message"),
        (state(content="a\0b"), "NUL"),
        (state(channel_id="c" * 129), "an id of the state"),
        (state(mentions=["m" * 129]), "an id of the state"),
        (state(mentions=["m"] * 101), "101 mentions, of 100"),
        (state(content="c" * 40_001), "40001 characters"),
        (state(version=2**63), f"version {2**63}"),
        (state(sequence=43, version=42), "sequence 43 and version 42"),
    ],
)
def test_states_are_held_to_the_same(bad: Record, reason: str) -> None:
    assert read_state(state()).content == read_state(state(version=50)).content
    with pytest.raises(Poison, match=reason):
        read_state(bad)


def test_an_escape_that_is_no_nul_is_text() -> None:
    """A backslash before `u0000` makes it five characters."""
    assert read_stream_event(changed(content="\\u0000")).payload.content == "\\u0000"  # type: ignore[union-attr]


def test_channel_events_are_no_message_events() -> None:
    """A consumer of messages refuses what its topics never carry."""
    channel = record(golden("channel.created"), topic=CHANNELS_CHANGED)
    assert read_stream_event(channel).sequence == 1
    with pytest.raises(Poison, match="not an event of a message"):
        read_message_event(channel)


@pytest.mark.parametrize(
    ("topic", "read", "key"),
    [
        (MESSAGES_CREATED, record(b'{"payload":{"channel_id":"here"}}'), "here"),
        (MESSAGES_CREATED, record(b'{"payload":{"channel_id":7}}'), "k"),
        (MESSAGES_CREATED, record(b'{"payload":[]}'), "k"),
        (MESSAGES_CREATED, record(b"\xff", headers=(("channel_id", "머리".encode()),)), "머리"),
        (MESSAGES_CREATED, record(b"\xff"), "k"),
        (MESSAGES_CREATED, record(b"\xff", key=None), None),
        (MESSAGES_CREATED, record(b"\xff", key=""), None),
        (MESSAGES_CREATED, record(b"[" * 100_000), "k"),
        (MESSAGES_STATE, record(b'{"channel_id":"of a state"}', key="msg_1"), "of a state"),
        (MESSAGES_STATE, record(None, key="msg_1", headers=(("channel_id", b"c"),)), "c"),
        (MESSAGES_STATE, record(b"garbage", key="msg_1"), None),
        (NOTIFICATIONS_SENT, record(b'{"payload":{"user_id":"bora","channel_id":"c"}}'), "bora"),
        (DEAD_LETTERS, record(b'{"ordering_key":"o"}', key="g/t/0/1"), "o"),
    ],
)
def test_the_ordering_key_is_found(topic: Topic, read: Record, key: str | None) -> None:
    """In the payload, else in a header, else in the record's key where the topic is keyed by it."""
    assert ordering_key(read, topic) == key
