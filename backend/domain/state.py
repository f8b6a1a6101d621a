"""What decisions are taken over: a channel, its members, a message, and what an Idempotency-Key stood for."""

from dataclasses import dataclass
from typing import Any

from schemas.channels import Role
from schemas.clock import format_ms
from schemas.messages import FormerMessage, Message


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel as its last event left it; times are epoch milliseconds."""

    channel_id: str
    name: str
    private: bool
    created_by: str
    created_at: int
    last_sequence: int
    last_event_at: int


@dataclass(frozen=True, slots=True)
class MemberState:
    """A user's place in a channel; `version` is the sequence of the event that gave it."""

    role: Role
    version: int


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as its last event left it; `deleted_at` is in epoch milliseconds."""

    message: Message
    deleted_at: int | None = None
    deleted_by: str | None = None

    @property
    def deleted(self) -> bool:
        return self.deleted_at is not None


def former(record: MessageRecord) -> FormerMessage:
    """Return the message as owners see it: deleted it has no text, and says when that was and who did it."""
    fields: dict[str, Any] = {name: getattr(record.message, name) for name in Message.__struct_fields__}
    if record.deleted_at is not None:
        fields |= {"deleted_at": format_ms(record.deleted_at), "deleted_by": record.deleted_by}
    return FormerMessage(**fields)


@dataclass(frozen=True, slots=True)
class EarlierPost:
    """What a used Idempotency-Key stands for: the request's hash and the message as first stored."""

    request_hash: str
    message: Message


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision may look at; what does not exist is None.

    `role` is that of the one who acts, in the channel; `member` the place of the user whom a command
    about members names, `owners` how many owners the channel then has.
    """

    channel: ChannelState | None
    message: MessageRecord | None = None
    parent: MessageRecord | None = None
    role: Role | None = None
    earlier: EarlierPost | None = None
    member: MemberState | None = None
    owners: int = 0
