"""The outbox cut into shards, read marks of channels, indexes for threads and for lists by code points."""

import sqlalchemy as sa
from alembic import op

from schemas.topics import partition_of

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A server's shards are shared by its backends; a file has one writer at a time whatever we do.
_SHARDS = {"postgresql": 4, "sqlite": 1}

_IN_ORDER_OF_CODE_POINTS = (
    'CREATE INDEX channels_public ON channels (channel_id COLLATE "C") WHERE NOT private',
    'CREATE INDEX channel_members_in_order ON channel_members (channel_id, user_id COLLATE "C")',
)


def upgrade() -> None:
    connection = op.get_bind()
    shards = _SHARDS[connection.dialect.name]
    op.create_table(
        "outbox_lanes",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("lane"),
        comment="Into how many shards a lane is cut: fixed, because each row of the outbox names its shard.",
    )
    for lane in ("messages", "notifications"):
        connection.execute(
            sa.text("INSERT INTO outbox_lanes (lane, shards) VALUES (:lane, :shards)"),
            {"lane": lane, "shards": shards},
        )
    op.add_column("outbox", sa.Column("shard", sa.Integer(), nullable=False, server_default="0"))
    if shards > 1:
        _give_shards(connection, shards)
    with op.batch_alter_table("outbox") as outbox:
        outbox.alter_column("shard", server_default=None)
        outbox.drop_index("outbox_by_lane")
        outbox.create_index("outbox_by_shard", ["lane", "shard", "position"])
    op.create_index("messages_by_parent", "messages", ["parent_id", "sequence"])
    if connection.dialect.name == "postgresql":
        # SQLite's own order is that of the code points, which its primary keys serve.
        for statement in _IN_ORDER_OF_CODE_POINTS:
            op.execute(statement)
    op.create_table(
        "channel_reads",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.channel_id"]),
        sa.PrimaryKeyConstraint("user_id", "channel_id"),
        comment="Up to which event each user has read each channel; it only rises.",
    )


def downgrade() -> None:
    op.drop_table("channel_reads")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX channels_public")
        op.execute("DROP INDEX channel_members_in_order")
    op.drop_index("messages_by_parent", table_name="messages")
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_index("outbox_by_shard")
        outbox.create_index("outbox_by_lane", ["lane", "position"])
        outbox.drop_column("shard")
    op.drop_table("outbox_lanes")


def _give_shards(connection: sa.Connection, shards: int) -> None:
    """Put what waits in the outbox into its shards: the hash is not one that SQL knows."""
    keys = connection.execute(sa.text("SELECT DISTINCT ordering_key FROM outbox")).scalars().all()
    for key in keys:
        connection.execute(
            sa.text("UPDATE outbox SET shard = :shard WHERE ordering_key = :key"),
            {"shard": partition_of(key, shards), "key": key},
        )
