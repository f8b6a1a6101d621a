"""The tables: the events are the record, the state tables their fold, the outbox what is yet to be told.

Moments are epoch milliseconds; lists are JSON text. Migrations under `migrations/` make these tables.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

# SQLite numbers rows by itself only in a column of type INTEGER.
_RowNumber = BigInteger().with_variant(Integer, "sqlite")
# Holds the few rows that the search for them is about, and none of the many others.
_AWAITS_TOMBSTONE = text("deleted_at IS NOT NULL AND tombstoned_at IS NULL")

channels = Table(
    "channels",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("last_event_at", BigInteger, nullable=False),
    comment="One row a channel; locked by every write, which takes the next sequence.",
)

channel_members = Table(
    "channel_members",
    metadata,
    Column("channel_id", Text, ForeignKey("channels.channel_id"), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel_id", "user_id"),
    Index("channel_members_by_user", "user_id", "channel_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("channel_id", Text, ForeignKey("channels.channel_id"), nullable=False),
    Column("author_id", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("mentions", Text, nullable=False),
    Column("attachments", Text, nullable=False),
    Column("parent_id", Text),
    Column("sequence", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("deleted_by", Text),
    # When the tombstone of its state was put into the outbox, past the replay horizon.
    Column("tombstoned_at", BigInteger),
    UniqueConstraint("channel_id", "sequence", name="messages_by_channel"),
    Index("messages_by_parent", "parent_id", "sequence"),
    Index(
        "messages_awaiting_tombstone",
        "deleted_at",
        postgresql_where=_AWAITS_TOMBSTONE,
        sqlite_where=_AWAITS_TOMBSTONE,
    ),
    comment="The fold of each message's events; a deleted one keeps its row, with its text emptied.",
)

message_events = Table(
    "message_events",
    metadata,
    Column("channel_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("event_type", Text, nullable=False),
    Column("message_id", Text),
    Column("timestamp", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("channel_id", "sequence"),
    Index("message_events_by_message", "message_id", "sequence"),
    comment="The record: every event of every channel, as it is sent.",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("author_id", Text, nullable=False),
    Column("key_hash", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    PrimaryKeyConstraint("author_id", "key_hash"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("position", _RowNumber, primary_key=True, autoincrement=True),
    Column("lane", Text, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("ordering_key", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    # NULL is no value at all: a tombstone, which is told under the `record_key` that only it has.
    Column("body", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("record_key", Text),
    Index("outbox_by_shard", "lane", "shard", "position"),
    comment="Events that the log has not acknowledged yet; a lane is drained by one kind of process.",
)

outbox_lanes = Table(
    "outbox_lanes",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("shards", Integer, nullable=False),
    comment="Into how many shards a lane is cut: fixed, because each row of the outbox names its shard.",
)

channel_reads = Table(
    "channel_reads",
    metadata,
    Column("user_id", Text, nullable=False),
    Column("channel_id", Text, ForeignKey("channels.channel_id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    PrimaryKeyConstraint("user_id", "channel_id"),
    comment="Up to which event each user has read each channel; it only rises.",
)

inbox_counters = Table(
    "inbox_counters",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("read_up_to", BigInteger, nullable=False),
    comment="One row a user; locked by whoever appends to the inbox, who takes the next seq.",
)

inbox = Table(
    "inbox",
    metadata,
    Column("user_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("notification_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("title", Text),
    Column("body", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("read_at", BigInteger),
    Column("retracted", Boolean, nullable=False),
    Column("muted", Boolean, nullable=False),
    # Why it was muted, where it was.
    Column("muted_by", Text),
    PrimaryKeyConstraint("user_id", "seq"),
    UniqueConstraint("user_id", "message_id", "reason", "kind", name="inbox_once"),
    Index("inbox_by_message", "message_id"),
    comment="The truth behind the sockets; kind is 'notification' or 'retracted'.",
)

notified_messages = Table(
    "notified_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("mentions", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    comment="What the notifier knows of each message: newest version, who was mentioned when, its end.",
)

# What the notifier knows of channels it has read in `channels.changed`, not in the tables of the write side.
memberships = Table(
    "memberships",
    metadata,
    Column("channel_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("present", Boolean, nullable=False),
    PrimaryKeyConstraint("channel_id", "user_id", "sequence"),
    comment="Who was in a channel from which event of it on, or out of it.",
)

followed_partitions = Table(
    "followed_partitions",
    metadata,
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("topic", "partition"),
    comment="Up to which offset the notifier has taken a partition in, in the transaction that did.",
)

thread_authors = Table(
    "thread_authors",
    metadata,
    Column("message_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("user_id", Text, nullable=False),
    PrimaryKeyConstraint("message_id", "sequence"),
    comment="Who wrote in the thread of a message, its author first, each with the event's number.",
)

announcements = Table(
    "announcements",
    metadata,
    Column("message_id", Text, nullable=False),
    # That of the event; negative where something is to be taken back because of it.
    Column("sequence", BigInteger, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("author_id", Text, nullable=False),
    # NULL where something is to be taken back.
    Column("content", Text),
    Column("happened_at", BigInteger, nullable=False),
    Column("told_up_to", Text, nullable=False),
    # When it last had its turn.
    Column("turn", BigInteger, nullable=False),
    PrimaryKeyConstraint("message_id", "sequence"),
    Index("announcements_by_turn", "turn"),
    comment="What is yet to be told to the many, or to be taken back from them, some at a time.",
)

channel_levels = Table(
    "channel_levels",
    metadata,
    Column("user_id", Text, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("level", Text, nullable=False),
    PrimaryKeyConstraint("user_id", "channel_id"),
    comment="Of which of a channel's notifications a user is told, where that is not all of them.",
)

quiet_hours = Table(
    "quiet_hours",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("starts_at", Text, nullable=False),
    Column("ends_at", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    comment="When a user is not to be disturbed.",
)

missing_history = Table(
    "missing_history",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("up_to", BigInteger, nullable=False),
    comment="Channels that were rebuilt from states: up to which event the record lacks their history.",
)

ways_out = Table(
    "ways_out",
    metadata,
    Column("name", Text, primary_key=True),
    Column("used_since_ms", BigInteger, nullable=False),
    comment="Since when each way out besides sockets is used: it pushes what was told from then on.",
)

# Lists are in the order of code points: SQLite's own, which primary keys serve. On PostgreSQL migrations make
# indexes for it, which cannot be said here: tables know no collation of an index.
INDEXES_BY_CODE_POINT = ("channels_public", "channel_members_in_order")
