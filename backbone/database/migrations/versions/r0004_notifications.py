"""What the notifier folds by itself (members, threads, @channel), and what users want to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # All of them are empty: the notifier reads `channels.changed` from its beginning to fill what it needs.
    op.create_table(
        "memberships",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("channel_id", "user_id", "sequence"),
        comment="Who was in a channel from which event of it on, or out of it.",
    )
    op.create_table(
        "followed_partitions",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
        comment="Up to which offset the notifier has taken a partition in, in the transaction that did.",
    )
    op.create_table(
        "thread_authors",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "sequence"),
        comment="Who wrote in the thread of a message, its author first, each with the event's number.",
    )
    op.create_table(
        "announcements",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("happened_at", sa.BigInteger(), nullable=False),
        sa.Column("told_up_to", sa.Text(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "sequence"),
        comment="What is yet to be told to the many, or to be taken back from them, some at a time.",
    )
    op.create_index("announcements_by_turn", "announcements", ["turn"])
    op.create_table(
        "channel_levels",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "channel_id"),
        comment="Of which of a channel's notifications a user is told, where that is not all of them.",
    )
    op.create_table(
        "quiet_hours",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
        comment="When a user is not to be disturbed.",
    )
    op.add_column("inbox", sa.Column("muted_by", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("inbox") as inbox:
        inbox.drop_column("muted_by")
    for table in ("quiet_hours", "channel_levels", "announcements"):
        op.drop_table(table)
    for table in ("thread_authors", "followed_partitions", "memberships"):
        op.drop_table(table)
