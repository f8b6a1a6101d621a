"""What a rebuild of notifications keeps beside the tables of its rehearsal: what users were sent and read."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text

own = MetaData()

sent = Table(
    "rebuild_sent",
    own,
    Column("user_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("notification_id", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("title", Text),
    Column("body", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("retracted", Boolean, nullable=False),
    Column("muted", Boolean, nullable=False),
    Column("told_at", BigInteger, nullable=False),
    comment="What the topic of notifications still holds; told_at says in which epoch the number was given.",
)

marks = Table(
    "rebuild_marks",
    own,
    Column("user_id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("up_to", BigInteger, nullable=False),
    Column("marked_at", BigInteger, nullable=False),
    comment="Up to where each inbox was read, and since when its numbers are those of its epoch.",
)

touched = Table(
    "rebuild_touched_messages",
    own,
    Column("message_id", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("at_offset", BigInteger, nullable=False),
    comment="Messages with events that the live notifier had yet to apply when the rebuild began.",
)
