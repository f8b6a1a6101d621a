"""What a user wants to be told, and what was read: as routes take it, and as `users.changed` carries it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.messages import Identifier

Level = Literal["all", "mentions", "nothing"]
"""Of a channel a user is told of mentions and replies, of mentions alone, or of nothing."""

MutedBy = Literal["channel_level", "do_not_disturb"]
"""Why a notification was muted."""

TimeOfDay = Annotated[
    str,
    Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)", description="Hours and minutes, such as 22:00."),
]


class DoNotDisturb(msgspec.Struct, frozen=True, kw_only=True):
    """The hours of each day in which a user is not to be disturbed.

    They go past midnight where they end before they start.
    """

    start: TimeOfDay
    end: TimeOfDay
    timezone: Annotated[str, Meta(min_length=1, max_length=64, description="A name of the IANA database.")]


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a user wants to be told; `channels` holds the levels that differ from `all`."""

    do_not_disturb: DoNotDisturb | None = None
    channels: dict[str, Level] = {}


class ChannelLevel(msgspec.Struct, frozen=True, kw_only=True):
    """Of which of a channel's notifications a user is told."""

    user_id: Identifier
    channel_id: Identifier
    level: Level


class QuietHours(msgspec.Struct, frozen=True, kw_only=True):
    """When a user is not to be disturbed; null: whenever."""

    user_id: Identifier
    do_not_disturb: DoNotDisturb | None


class InboxMark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Up to which `seq` a user has read the inbox; with an `epoch`, whose numbers begin with this event.

    Only then `up_to` may be 0: nothing is read.
    """

    user_id: Identifier
    up_to: Annotated[int, Meta(ge=0)]
    epoch: Annotated[int, Meta(ge=2)] | None = None
