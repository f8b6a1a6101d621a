"""Events of messages, made without a backend, and told as the relay tells them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from backbone.clock import SystemClock
from backbone.eventlog import EventLog, NewRecord
from schemas.clock import format_ms
from schemas.events import MessageCreated, MessageDeleted, MessagesEvent, MessageUpdated, encode, event_type
from schemas.messages import DeletedMessage, Message
from schemas.states import state_after
from schemas.topics import MESSAGES_STATE, TOPIC_OF_EVENT
from tests.support.eventlog import append

_clock = SystemClock()
MOMENT_MS = 1_760_000_000_000


class Talk:
    """A channel in which one author writes; each call gives the next event of its stream."""

    def __init__(self, channel_id: str = "c", author_id: str = "author", private: bool = False) -> None:
        self.channel_id = channel_id
        self.author_id = author_id
        self.private = private
        self.sequence = 1
        self._created: dict[str, int] = {}

    def post(
        self, content: str, mentions: Sequence[str] = (), message_id: str | None = None
    ) -> MessageCreated:
        """Return the event of a new message."""
        message_id = message_id or _clock.new_id("msg_")
        self._created[message_id] = self.sequence + 1
        envelope = self._envelope()
        return MessageCreated(**envelope, payload=self._message(message_id, content, mentions))

    def reply(self, parent_id: str, content: str, mentions: Sequence[str] = ()) -> MessageCreated:
        """Return the event of a new message in the thread of another."""
        post = self.post(content, mentions)
        return msgspec.structs.replace(
            post, payload=msgspec.structs.replace(post.payload, parent_id=parent_id)
        )

    def edit(self, message_id: str, content: str, mentions: Sequence[str] = ()) -> MessageUpdated:
        """Return the event of an edit."""
        envelope = self._envelope()
        return MessageUpdated(**envelope, payload=self._message(message_id, content, mentions))

    def delete(self, message_id: str) -> MessageDeleted:
        """Return the event of a deletion by the author."""
        envelope = self._envelope()
        gone = DeletedMessage(
            message_id=message_id,
            channel_id=self.channel_id,
            author_id=self.author_id,
            sequence=self._created[message_id],
            version=self.sequence,
            deleted_at=format_ms(MOMENT_MS + self.sequence),
            deleted_by=self.author_id,
        )
        return MessageDeleted(**envelope, payload=gone)

    def _envelope(self) -> dict[str, Any]:
        self.sequence += 1
        return {
            "event_id": _clock.new_id("evt_"),
            "timestamp": MOMENT_MS + self.sequence,
            "sequence": self.sequence,
            "private": self.private,
        }

    def _message(self, message_id: str, content: str, mentions: Sequence[str]) -> Message:
        return Message(
            message_id=message_id,
            channel_id=self.channel_id,
            author_id=self.author_id,
            content=content,
            mentions=tuple(mentions),
            sequence=self._created[message_id],
            version=self.sequence,
            created_at=format_ms(MOMENT_MS + self._created[message_id]),
            updated_at=format_ms(MOMENT_MS + self.sequence),
        )


def records_of(event: MessagesEvent) -> Sequence[NewRecord]:
    """Return the event's record and the state's behind it."""
    headers = (("event_type", event_type(event).encode()), ("schema_version", b"1"))
    channel_id, message_id = event.payload.channel_id, event.payload.message_id
    topic = TOPIC_OF_EVENT[event_type(event)]
    return (
        NewRecord(topic.name, channel_id, channel_id, encode(event), headers),
        NewRecord(MESSAGES_STATE.name, message_id, channel_id, encode(state_after(event)), headers),
    )


async def tell(eventlog: EventLog, events: Sequence[MessagesEvent]) -> None:
    """Append events and the states behind them."""
    await append(eventlog, [record for event in events for record in records_of(event)])
