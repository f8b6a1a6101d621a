"""The topics: what each carries, how it is keyed and kept, and in which partition a record lies."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

DAY_MS = 24 * 60 * 60 * 1000
REPLAY_HORIZON_MS = 7 * DAY_MS

Cleanup = Literal["keep", "compact", "expire"]


@dataclass(frozen=True)
class Topic:
    """One topic, named without its prefix.

    `key` is the field that a record is keyed by and `ordering_key` the one whose murmur2 hash
    chooses the partition: records with the same ordering key are in order among themselves.
    """

    name: str
    key: str
    ordering_key: str
    cleanup: Cleanup
    retention_ms: int | None = None

    def __post_init__(self) -> None:
        if (self.cleanup == "expire") != (self.retention_ms is not None):
            raise ValueError(f"{self.name}: a retention goes with cleanup 'expire', and only with it")


MESSAGES_CREATED = Topic("messages.created", "channel_id", "channel_id", "keep")
MESSAGES_UPDATED = Topic("messages.updated", "channel_id", "channel_id", "keep")
MESSAGES_DELETED = Topic("messages.deleted", "channel_id", "channel_id", "keep")
MESSAGES_STATE = Topic("messages.state", "message_id", "channel_id", "compact")
CHANNELS_CHANGED = Topic("channels.changed", "channel_id", "channel_id", "keep")
USERS_CHANGED = Topic("users.changed", "user_id", "user_id", "keep")
NOTIFICATIONS_SENT = Topic("notifications.sent", "user_id", "user_id", "expire", 30 * DAY_MS)
USERS_ACTIVITY = Topic("users.activity", "user_id", "user_id", "expire", 7 * DAY_MS)
DEAD_LETTERS = Topic("dead-letters", "source", "ordering_key", "compact")

MESSAGE_TOPICS = (MESSAGES_CREATED, MESSAGES_UPDATED, MESSAGES_DELETED)
STREAM_TOPICS = (*MESSAGE_TOPICS, CHANNELS_CHANGED)
ALL_TOPICS = (
    *MESSAGE_TOPICS,
    MESSAGES_STATE,
    CHANNELS_CHANGED,
    USERS_CHANGED,
    NOTIFICATIONS_SENT,
    USERS_ACTIVITY,
    DEAD_LETTERS,
)

# The consumer groups, as the outside sees them.
GROUP_INDEXER = "search-indexer"
GROUP_NOTIFIER = "notification-service"
GROUP_ARCHIVER = "archive-service"
GROUP_REBUILDER = "state-rebuilder"
# Each way out has a group of its own: one that is down holds up no other, nor has it sent again.
GROUP_OF_SENDER = {"console": "notification-console", "webhook": "notification-webhook"}

# What the groups that commit read.
TOPICS_OF_GROUP = {
    GROUP_INDEXER: MESSAGE_TOPICS,
    GROUP_NOTIFIER: STREAM_TOPICS,
    GROUP_ARCHIVER: ALL_TOPICS,
    **dict.fromkeys(GROUP_OF_SENDER.values(), (NOTIFICATIONS_SENT,)),
}

TOPIC_OF_EVENT = {
    "message.created": MESSAGES_CREATED,
    "message.updated": MESSAGES_UPDATED,
    "message.deleted": MESSAGES_DELETED,
    "channel.created": CHANNELS_CHANGED,
    "channel.member_added": CHANNELS_CHANGED,
    "channel.member_removed": CHANNELS_CHANGED,
    "channel.role_changed": CHANNELS_CHANGED,
    "notification.sent": NOTIFICATIONS_SENT,
    "notification.retracted": NOTIFICATIONS_SENT,
    "user.channel_level_set": USERS_CHANGED,
    "user.do_not_disturb_set": USERS_CHANGED,
    "user.inbox_read": USERS_CHANGED,
    "user.activity": USERS_ACTIVITY,
}


def murmur2(data: bytes) -> int:
    """Return the unsigned 32-bit MurmurHash2 (Austin Appleby) with the seed of Kafka's Java client."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(data)
    h = (0x9747B28C ^ length) & mask
    end = length - length % 4
    for i in range(0, end, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if length % 4:
        h = (h ^ int.from_bytes(data[end:], "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def partition_of(ordering_key: str, partitions: int) -> int:
    """Return the partition of an ordering key, as Kafka's Java client and kafkajs choose it."""
    return (murmur2(ordering_key.encode()) & 0x7FFFFFFF) % partitions
