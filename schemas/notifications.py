"""A notification as the inbox, the sockets and `platform.notifications.sent` carry it."""

from typing import Literal

import msgspec

from schemas.messages import Rfc3339

# A user gets one notification per message and reason, ever.
Reason = Literal["mention", "reply"]
TITLES: dict[Reason, str] = {"mention": "새 멘션", "reply": "새 답글"}


class NotificationData(msgspec.Struct, frozen=True, kw_only=True):
    """Where the notification leads."""

    message_id: str
    channel_id: str


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One notification of one user; a retracted one keeps its place with `title` and `body` null."""

    notification_id: str
    user_id: str
    reason: Reason
    title: str | None
    body: str | None
    data: NotificationData
    created_at: Rfc3339
    read_at: Rfc3339 | None = None
    muted: bool = False
    retracted: bool | msgspec.UnsetType = msgspec.UNSET


class NumberedNotification(Notification, frozen=True, kw_only=True):
    """A notification as the inbox lists it; `seq` is its gapless number there."""

    seq: int


Because = Literal[
    "mentioned",
    "replied",
    "own_message",
    "not_mentioned",
    "not_a_reply",
    "not_in_the_thread",
    "not_a_member",
    "mention_removed",
    "message_deleted",
    "channel_level",
    "do_not_disturb",
    "not_yet_processed",
]


class WhyReason(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one reason for which a user might be told of a message, and because of what.

    `seq` is the number of the notification in the user's inbox, where there is one.
    """

    reason: Reason
    outcome: Literal["sent", "muted", "retracted", "not_sent", "pending"]
    because: Because
    seq: int | None = None


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a user was or was not told of a message."""

    message_id: str
    user_id: str
    reasons: tuple[WhyReason, ...]
