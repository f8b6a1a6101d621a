"""Of which channels the record lacks the history, because they were rebuilt from states."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "missing_history",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("up_to", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel_id"),
        comment="Channels that were rebuilt from states: up to which event the record lacks their history.",
    )


def downgrade() -> None:
    op.drop_table("missing_history")
