"""Events of other versions: earlier ones are brought up step by step, later ones are refused."""

import json
from typing import Any

import msgspec
import pytest

from schemas.events import MessageCreated, MessagesEvent, MessageUpdated, decode
from schemas.versions import EventDecoder
from tests.unit.test_schemas import golden


def of_version(version: int | None, **more: Any) -> bytes:
    """Return the golden event as an earlier or later version would have written it."""
    event = json.loads(golden("message.created")) | more
    event.pop("schema_version")
    return json.dumps(event if version is None else event | {"schema_version": version}).encode()


def renamed(event: dict[str, Any]) -> dict[str, Any]:
    """From 1 to 2: `text` became `content`."""
    payload = dict(event["payload"])
    payload["content"] = payload.pop("text")
    return event | {"payload": payload}


def marked(event: dict[str, Any]) -> dict[str, Any]:
    """From 2 to 3: a mark, to see that the steps come in order."""
    payload = event["payload"]
    return event | {"payload": payload | {"content": payload["content"] + "!"}}


STEPS = {("message.created", 1): renamed, ("message.created", 2): marked}
THIRD: EventDecoder[MessagesEvent] = EventDecoder(MessagesEvent, 3, STEPS)


def first_version() -> bytes:
    payload = json.loads(golden("message.created"))["payload"]
    payload["text"] = payload.pop("content")
    return of_version(1, payload=payload)


def test_an_earlier_event_is_brought_up_step_by_step() -> None:
    """Each step is that of its version; the event says the version it has been brought to."""
    content = json.loads(golden("message.created"))["payload"]["content"]
    read = THIRD.decode(first_version())
    assert isinstance(read, MessageCreated)
    assert (read.payload.content, read.schema_version) == (f"{content}!", 3)
    assert THIRD.decode(of_version(2)).payload.content == f"{content}!"  # type: ignore[union-attr]
    assert THIRD.decode(of_version(3)).payload.content == content  # type: ignore[union-attr]


def test_an_event_without_a_step_stays_as_it_is() -> None:
    """A version that changed nothing of an event type needs no function for it."""
    event = json.loads(golden("message.updated")) | {"schema_version": 1}
    read = THIRD.decode(json.dumps(event))
    assert isinstance(read, MessageUpdated)
    assert read.schema_version == 3


def test_no_version_is_the_first() -> None:
    """Events without `schema_version` are read as those of version 1."""
    assert decode(of_version(None)) == decode(golden("message.created"))


@pytest.mark.parametrize("extra", [{}, {"payload": {"unheard": "of"}}, {"event_type": "message.pinned"}])
def test_a_later_version_is_refused(extra: dict[str, Any]) -> None:
    """Whether it would read as today's or not, the error says that the version is what is not known."""
    with pytest.raises(msgspec.DecodeError, match=r"schema_version 2 of .* is not known here"):
        decode(of_version(2, **extra))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (of_version(1, event_type="message.pinned"), "message.pinned"),
        (of_version(1, payload={}), "payload"),
        (of_version(0), "schema_version"),
        (b"[]", "object"),
        (b"", "truncated"),
        (b"\xff", "malformed"),
    ],
)
def test_what_is_wrong_with_an_event_of_today_is_said(data: bytes, reason: str) -> None:
    """The error is that of the event itself, and always of one type."""
    with pytest.raises(msgspec.DecodeError, match=reason):
        decode(data)
