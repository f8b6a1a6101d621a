"""What a side store keeps beside the tables that it rebuilds: how far it is, and what it has yet to do."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text

from backbone.database.tables import (
    channel_levels,
    channel_members,
    channels,
    idempotency_keys,
    message_events,
    messages,
    missing_history,
    quiet_hours,
)

# Those that are swapped, channels first: whoever writes locks in this order.
REBUILT = (
    channels,
    channel_members,
    messages,
    message_events,
    idempotency_keys,
    channel_levels,
    quiet_hours,
    missing_history,
)

own = MetaData()

runs = Table(
    "rebuild_run",
    own,
    Column("source", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("skip_poison", Boolean, nullable=False),
    comment="One row: what is rebuilt from where, and which phase it is in.",
)

offsets = Table(
    "rebuild_offsets",
    own,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False),
    comment="The next offset to read, written with what was read before it.",
)

touched = Table(
    "rebuild_touched",
    own,
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Index("rebuild_touched_by_id", "kind", "id"),
    comment="Whose events came in, and are to be folded: channels, their members, messages.",
)

problems = Table(
    "rebuild_problems",
    own,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("at_offset", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    comment="Records that cannot be read or applied.",
)

structure = Table(
    "rebuild_structure",
    own,
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("table_name", Text, nullable=False),
    Column("statement", Text, nullable=False),
    comment="What was taken from the tables for the load, to be made again after it.",
)

counters = Table(
    "rebuild_counters",
    own,
    Column("channel_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("happened_at", BigInteger, nullable=False),
    comment="From states: the highest number of a channel in the topics of events.",
)

created = Table(
    "rebuild_created",
    own,
    Column("message_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("parent_id", Text),
    comment="From states: what the state of a deleted message does not tell.",
)

proven = Table(
    "rebuild_proven",
    own,
    Column("channel_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    comment="Up to which event each channel was found to be the same as the live one.",
)
