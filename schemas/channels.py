"""A channel and a membership as routes and events carry them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.messages import Rfc3339, Sequence

Role = Literal["owner", "member"]
ChannelName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+$(?!\n)",
        description="1 to 255 characters of any script, without control characters.",
    ),
]


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel; `private` is fixed for its life."""

    channel_id: str
    name: str
    private: bool = False
    created_by: str
    created_at: Rfc3339


class ChannelView(Channel, frozen=True, kw_only=True):
    """A channel as one reader sees it: its last event, and the reader's role, null for those outside."""

    last_sequence: Sequence
    role: Role | None


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """What one user has not read of a channel: live messages of others after `read_sequence`.

    They are looked for among the channel's newest 10,000 events: where `last_sequence` is further than that
    from `read_sequence`, there may be more. `mentions` counts those of them that mention the user, or
    `@channel` where the user is a member.
    """

    channel_id: str
    unread: int
    mentions: int
    read_sequence: int
    last_sequence: Sequence


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """One user's membership of one channel; `version` is the sequence of its last event.

    `changed_by` says in events who did it; events of earlier versions lack it.
    """

    channel_id: str
    user_id: str
    role: Role
    version: Sequence
    changed_by: str | msgspec.UnsetType = msgspec.UNSET
