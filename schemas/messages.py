"""A message as every route, event and topic carries it, and the limits of its fields."""

from typing import Annotated

import msgspec
from msgspec import Meta

CONTENT_MAX_CHARACTERS = 40_000
ID_MAX_CHARACTERS = 128
MENTIONS_MAX = 100
ATTACHMENTS_MAX = 20
IDEMPOTENCY_KEY_MAX_CHARACTERS = 255
BODY_MAX_BYTES = 1024 * 1024
EVENT_MAX_BYTES = 512 * 1024

# What stands in `mentions` for every member of the channel.
MENTION_CHANNEL = "@channel"

# Any script, no control character, no slash, and neither `.` nor `..`, which clients take out of a path
# before they ask for it: an id is one segment of a path. `(?!\n)` because `$` of Python's alone also matches
# before a last newline; ECMA 262, whose patterns JSON Schema takes, reads it too.
Identifier = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=ID_MAX_CHARACTERS,
        pattern=r"^(?!\.{1,2}$)[^\x00-\x1f\x7f-\x9f/]+$(?!\n)",
        description="1 to 128 characters of any script, without control characters or `/`; not `.` or `..`.",
    ),
]
Content = Annotated[str, Meta(min_length=1, max_length=CONTENT_MAX_CHARACTERS, pattern=r"^[^\x00]+$")]
Rfc3339 = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$(?!\n)",
        description="RFC 3339 in UTC with milliseconds.",
        examples=["2026-01-31T09:00:00.000Z"],
    ),
]
Sequence = Annotated[int, Meta(ge=1, description="The number of an event in its channel: 1, 2, 3 … no gap.")]


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that a message points to; it is stored elsewhere, under `url`."""

    name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
    url: Annotated[str, Meta(max_length=2048, pattern=r"^[hH][tT][tT][pP][sS]?://[^\s\x00-\x1f\x7f]+$(?!\n)")]
    content_type: Annotated[str, Meta(max_length=127, pattern=r"^[^\x00]*$")] | None = None
    size_bytes: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


Mentions = Annotated[tuple[Identifier, ...], Meta(max_length=MENTIONS_MAX)]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message in its state after the event `version`; `sequence` is the event that created it."""

    message_id: str
    channel_id: str
    author_id: str
    content: str
    mentions: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    parent_id: str | None = None
    sequence: Sequence
    version: Sequence
    created_at: Rfc3339
    updated_at: Rfc3339


class FormerMessage(Message, frozen=True, kw_only=True):
    """A message as it was at some time; once deleted its text is empty, and it says when and by whom."""

    deleted_at: Rfc3339 | msgspec.UnsetType = msgspec.UNSET
    deleted_by: str | msgspec.UnsetType = msgspec.UNSET


class DeletedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What remains of a message once it is deleted: who, when, and which event did it."""

    message_id: str
    channel_id: str
    author_id: str
    sequence: Sequence
    version: Sequence
    deleted_at: Rfc3339
    deleted_by: str


class MessageState(msgspec.Struct, frozen=True, kw_only=True):
    """A value of the compacted state topic: the whole message, or `deleted: true` and what remains.

    `private` is that of the channel; it stands here so that a reader of this topic alone can
    restore the search index, rights included.
    """

    message_id: str
    channel_id: str
    author_id: str
    sequence: Sequence
    version: Sequence
    private: bool = False
    deleted: bool = False
    content: str | msgspec.UnsetType = msgspec.UNSET
    mentions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    attachments: tuple[Attachment, ...] | msgspec.UnsetType = msgspec.UNSET
    parent_id: str | msgspec.UnsetType | None = msgspec.UNSET
    created_at: Rfc3339 | msgspec.UnsetType = msgspec.UNSET
    updated_at: Rfc3339 | msgspec.UnsetType = msgspec.UNSET
    deleted_at: Rfc3339 | msgspec.UnsetType = msgspec.UNSET
    deleted_by: str | msgspec.UnsetType = msgspec.UNSET
