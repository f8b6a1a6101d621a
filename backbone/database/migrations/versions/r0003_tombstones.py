"""Tombstones of states: which messages have theirs, and rows of the outbox that carry no value."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_AWAITS_TOMBSTONE = sa.text("deleted_at IS NOT NULL AND tombstoned_at IS NULL")


def upgrade() -> None:
    # Neither a null body nor the new column concerns a process of the revision before: it writes neither, and
    # its relay's look at sizes passes over rows without a body, which stay for a relay that knows them.
    with op.batch_alter_table("outbox") as outbox:
        outbox.alter_column("body", existing_type=sa.Text(), nullable=True)
        outbox.add_column(sa.Column("record_key", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("tombstoned_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "messages_awaiting_tombstone",
        "messages",
        ["deleted_at"],
        postgresql_where=_AWAITS_TOMBSTONE,
        sqlite_where=_AWAITS_TOMBSTONE,
    )


def downgrade() -> None:
    op.drop_index("messages_awaiting_tombstone", table_name="messages")
    # What was not told stays in the state topic, as a deleted message: readers know that, too.
    op.execute("DELETE FROM outbox WHERE body IS NULL")
    with op.batch_alter_table("messages") as messages:
        messages.drop_column("tombstoned_at")
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_column("record_key")
        outbox.alter_column("body", existing_type=sa.Text(), nullable=False)
