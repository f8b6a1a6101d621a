"""What the notifier folds by itself: members of channels at each event, authors of threads, @channel."""

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
        sa.Column("told_up_to", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "sequence"),
        comment="What is yet to be told to the many, or to be taken back from them, some at a time.",
    )
    op.create_index("announcements_by_turn", "announcements", ["turn"])


def downgrade() -> None:
    for table in ("announcements", "thread_authors", "followed_partitions", "memberships"):
        op.drop_table(table)
