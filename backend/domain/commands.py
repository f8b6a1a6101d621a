"""What clients may ask for, as data.

Ids of messages and events are given with the command, before anything is stored: when nobody knows
whether a transaction was committed, its events are looked up by them.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import msgspec

from schemas.channels import Role
from schemas.events import encode
from schemas.messages import Attachment


@dataclass(frozen=True)
class PostMessage:
    """Post a message, or a reply to `parent_id`.

    Where `channel_event_id` is given, a channel that does not exist is made by the post, public.
    """

    event_id: str
    message_id: str
    actor_id: str
    channel_id: str
    content: str
    mentions: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    parent_id: str | None = None
    idempotency_key: str | None = None
    channel_event_id: str | None = None

    @cached_property
    def idempotency_key_hash(self) -> str | None:
        """The SHA-256 of the key in hex: the key itself is nobody's business."""
        return (
            None
            if self.idempotency_key is None
            else hashlib.sha256(self.idempotency_key.encode()).hexdigest()
        )

    @cached_property
    def request_hash(self) -> str:
        """The SHA-256 in hex of what was asked for, decoded and with defaults filled in."""
        asked = (
            self.actor_id,
            self.channel_id,
            self.content,
            self.mentions,
            self.attachments,
            self.parent_id,
        )
        return hashlib.sha256(encode(asked)).hexdigest()


@dataclass(frozen=True, slots=True)
class EditMessage:
    """Change parts of a message; what is UNSET stays. `if_match` holds acceptable versions."""

    event_id: str
    message_id: str
    actor_id: str
    content: str | msgspec.UnsetType = msgspec.UNSET
    mentions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    attachments: tuple[Attachment, ...] | msgspec.UnsetType = msgspec.UNSET
    if_match: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Delete a message: by its author or an owner of the channel."""

    event_id: str
    message_id: str
    actor_id: str
    if_match: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class MakeChannel:
    """Make a channel; the one who acts owns it. `private` is fixed for its life."""

    event_id: str
    actor_id: str
    channel_id: str
    name: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class PutMember:
    """Join a public channel, add someone, or change a role, whichever it takes to make it so.

    `role` None means: a member where the user is none yet, else as it is.
    """

    event_id: str
    actor_id: str
    channel_id: str
    user_id: str
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Leave a channel, or remove someone from it."""

    event_id: str
    actor_id: str
    channel_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class MarkRead:
    """Note that the one who acts has read the channel up to `sequence`; this is no event."""

    actor_id: str
    channel_id: str
    sequence: int


MessageChange = EditMessage | DeleteMessage
MemberCommand = PutMember | RemoveMember
EventfulCommand = PostMessage | MessageChange | MakeChannel | MemberCommand
Command = EventfulCommand | MarkRead
