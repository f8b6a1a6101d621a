"""Since when each way out besides sockets is used."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ways_out",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("used_since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        comment="Since when each way out besides sockets is used: it pushes what was told from then on.",
    )


def downgrade() -> None:
    op.drop_table("ways_out")
