"""The outbox: events stored with what they changed, in one transaction, until the log has them.

A lane is drained by one kind of process (the backend's, the notifier's), in the order of `position`.
"""

from collections.abc import Mapping
from typing import Literal

from schemas.events import Event, encode, event_type
from schemas.topics import TOPIC_OF_EVENT

Lane = Literal["messages", "notifications"]


def outbox_row(lane: Lane, ordering_key: str, event: Event, body: str | None = None) -> Mapping[str, object]:
    """Return the row that tells `event`; `body` is its JSON where that is at hand already."""
    kind = event_type(event)
    return {
        "lane": lane,
        "ordering_key": ordering_key,
        "topic": TOPIC_OF_EVENT[kind].name,
        "event_type": kind,
        "body": encode(event).decode() if body is None else body,
        "created_at": event.timestamp,
    }
