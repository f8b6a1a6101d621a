"""What a batch of records is to the tables: rows of the record and of keys, and what to fold. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from backbone.errors import Poison
from backbone.eventlog import Record
from backbone.eventlog.events import read_stream_event
from backend.domain.evolve import evolve_message
from backend.rows import message_to_row
from rebuilder.problems import UNREADABLE, Problem
from schemas.events import (
    ChannelsEvent,
    MessageCreated,
    StreamEvent,
    UserChannelLevelSet,
    UserDoNotDisturbSet,
    UserInboxRead,
    UsersEvent,
    decode,
    event_type,
)
from schemas.topics import USERS_CHANGED

CHANNEL, MEMBERS, MESSAGE = "channel", "members", "message"

Rows = list[tuple[Any, ...]]


@dataclass(slots=True)
class Chunk:
    """The rows of a batch; `wishes` are events of users, in their order.

    In bulk a message's row is made from its creation, and only what happened to it later is `touched`; the
    channels are found afterwards.
    """

    bulk: bool
    events: Rows = field(default_factory=list)
    messages: Rows = field(default_factory=list)
    keys: Rows = field(default_factory=list)
    touched: dict[tuple[str, str], None] = field(default_factory=dict)
    wishes: list[UsersEvent] = field(default_factory=list)
    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    created: Rows = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Add what a record says."""
        try:
            if record.topic == USERS_CHANGED.name:
                self.wishes.append(_users_event(record))
                return
            event = read_stream_event(record)
            self.add(event, (record.value or b"").decode())
        except (Poison, ValueError) as error:
            self.note(record, error)

    def note(self, record: Record, error: Exception) -> None:
        """Add a record that cannot be read."""
        self.problems.append(
            Problem(
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=f"{UNREADABLE}: {error}",
            )
        )

    def add(self, event: StreamEvent, body: str) -> None:
        """Add an event of a channel's stream; `body` is its JSON. Raises ValueError."""
        channel_id = event.payload.channel_id
        message_id = None if isinstance(event, ChannelsEvent) else event.payload.message_id
        if message_id is not None:
            if isinstance(event, MessageCreated) and self.bulk:
                self.messages.append(message_to_row(evolve_message(None, event)))
            else:
                self.touched[MESSAGE, message_id] = None
        else:
            self.touched[MEMBERS, channel_id] = None
        if not self.bulk:
            self.touched[CHANNEL, channel_id] = None
        if isinstance(event, MessageCreated) and isinstance(event.idempotency_key_hash, str):
            key = (event.payload.author_id, event.idempotency_key_hash, str(event.request_hash), message_id)
            self.keys.append(key)
        self.events.append(
            (channel_id, event.sequence, event.event_id, event_type(event), message_id, event.timestamp, body)
        )


def chunk_of(records: Sequence[Record], *, bulk: bool) -> Chunk:
    """Return what the records say."""
    chunk = Chunk(bulk)
    for record in records:
        chunk.take(record)
    return chunk


def _users_event(record: Record) -> UsersEvent:
    try:
        event = decode(record.value or b"")
    except msgspec.DecodeError as error:
        raise Poison(f"not an event of a user: {error}") from error
    if not isinstance(event, UserChannelLevelSet | UserDoNotDisturbSet | UserInboxRead):
        raise Poison(f"{event_type(event)} does not belong into this topic")
    return event
