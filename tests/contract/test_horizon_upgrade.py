"""Databases of the revisions before tombstones, on SQLite and on PostgreSQL."""

import pytest
from alembic import command
from sqlalchemy import Connection, select, text

from backbone.clock import SystemClock
from backbone.database import migrations
from backbone.database.engine import Database
from backbone.database.migrations import check_migrated, migrate
from backbone.database.tables import outbox
from backbone.settings import Settings
from backend.horizon import Horizon
from tests.conftest import ADAPTERS
from tests.support.database import own_database


@pytest.mark.parametrize("revision", ["0001", "0002"])
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_what_older_revisions_hold_stays(
    revision: str, adapter: str, unique: str, request: pytest.FixtureRequest
) -> None:
    """Messages and outbox come through the migration whole; what was deleted long ago gets its tombstone."""

    def before(connection: Connection) -> None:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    settings: Settings = request.getfixturevalue(f"{adapter}_settings")
    async with own_database(settings, unique) as own:
        database = Database(own.database_url)
        async with database.writing() as connection:
            await connection.run_sync(before)
            for statement in _OLD_ROWS:
                await connection.execute(text(statement))
            shard = (", shard", ", 0") if revision == "0002" else ("", "")
            await connection.execute(text(_OLD_OUTBOX_ROW.format(*shard)))
        await migrate(database)
        await check_migrated(database)
        assert await Horizon(database, SystemClock()).step() == 1
        async with database.looking() as connection:
            rows = (await connection.execute(select(outbox).order_by(outbox.c.position))).all()
        assert [(row.body, row.record_key) for row in rows] == [("{}", None), (None, "msg_1")]
        assert rows[0].position < rows[1].position
        await database.close()


_OLD_ROWS = (
    "INSERT INTO channels VALUES ('c', 'c', false, 'a', 1, 3, 3)",
    "INSERT INTO messages VALUES ('msg_1', 'c', 'a', '', '[]', '[]', NULL, 2, 3, 2, 3, 3, 'a')",
)
_OLD_OUTBOX_ROW = (
    "INSERT INTO outbox (lane, ordering_key, topic, event_type, body, created_at{})"
    " VALUES ('messages', 'c', 'messages.created', 'message.created', '{{}}', 1{})"
)
