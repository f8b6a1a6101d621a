"""What remains of an event in a channel's stream once its message was deleted: pure."""

from typing import Any

import msgspec

from schemas.codec import encode

_EMPTIED: dict[str, Any] = {"content": "", "mentions": [], "attachments": []}
# A hash of the request lets whoever guesses the text find out that the guess is right.
_LEFT_OUT = ("idempotency_key_hash", "request_hash")


def redacted(body: str) -> str:
    """Return the event's JSON without what the deletion took, and `"redacted": true` where that is something.

    Sequence, times, author and place in the thread stay: the stream has no gap.
    """
    event: dict[str, Any] = msgspec.json.decode(body)
    if event["event_type"] not in ("message.created", "message.updated"):
        return body
    kept = {name: value for name, value in event.items() if name not in _LEFT_OUT}
    return encode({**kept, "payload": {**event["payload"], **_EMPTIED}, "redacted": True}).decode()
