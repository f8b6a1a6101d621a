"""A channel and a membership as routes and events carry them."""

from typing import Literal

import msgspec

from schemas.messages import Rfc3339, Sequence

Role = Literal["owner", "member"]


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel; `private` is fixed for its life."""

    channel_id: str
    name: str
    private: bool = False
    created_by: str
    created_at: Rfc3339


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """One user's membership of one channel; `version` is the sequence of its last event.

    `changed_by` says in events who did it; events of earlier versions lack it.
    """

    channel_id: str
    user_id: str
    role: Role
    version: Sequence
    changed_by: str | msgspec.UnsetType = msgspec.UNSET
