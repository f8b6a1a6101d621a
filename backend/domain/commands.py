"""What clients may ask for, as data."""

import hashlib
from dataclasses import dataclass

import msgspec

from schemas.events import encode
from schemas.messages import Attachment


@dataclass(frozen=True, slots=True)
class PostMessage:
    """Post a message; `message_id` and `event_id`s are given before, so that a retry can find them."""

    message_id: str
    actor_id: str
    channel_id: str
    content: str
    mentions: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    parent_id: str | None = None
    idempotency_key: str | None = None

    @property
    def idempotency_key_hash(self) -> str | None:
        """The SHA-256 of the key in hex: the key itself is nobody's business."""
        return (
            None
            if self.idempotency_key is None
            else hashlib.sha256(self.idempotency_key.encode()).hexdigest()
        )

    @property
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

    message_id: str
    actor_id: str
    content: str | msgspec.UnsetType = msgspec.UNSET
    mentions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    attachments: tuple[Attachment, ...] | msgspec.UnsetType = msgspec.UNSET
    if_match: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Delete a message: by its author or an owner of the channel."""

    message_id: str
    actor_id: str


Command = PostMessage | EditMessage | DeleteMessage
