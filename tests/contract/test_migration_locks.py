"""Migrating PostgreSQL beside processes that write: they go on, or the migration gives way."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic import command
from sqlalchemy import Connection, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import migrations
from backbone.database.engine import Database
from backbone.database.migrations import TablesInUse, migrate
from backbone.database.tables import channels
from backbone.errors import SetupError
from backbone.settings import Settings
from tests.support.database import own_database
from tests.support.waiting import until

INSERT_OUTBOX = text(
    "INSERT INTO outbox (lane, ordering_key, topic, event_type, body, created_at)"
    " VALUES ('messages', 'c', 't', 'message.created', '{}', 1)"
)


@pytest.fixture
async def database(real_settings: Settings, unique: str) -> AsyncIterator[Database]:
    """A database as the first revision left it."""
    async with own_database(real_settings, unique) as own:
        opened = Database(own.database_url)
        async with opened.writing() as connection:
            await connection.run_sync(upgrade_to_first)
        yield opened
        await opened.close()


def upgrade_to_first(connection: Connection) -> None:
    config = migrations._config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


async def write_begun(connection: AsyncConnection) -> None:
    """Do what a write does first."""
    await connection.execute(
        insert(channels).values(
            channel_id="c",
            name="c",
            private=False,
            created_by="a",
            created_at=1,
            last_sequence=1,
            last_event_at=1,
        )
    )


async def test_a_write_under_way_is_waited_for(database: Database) -> None:
    """It takes its locks in another order than a migration changes tables, and both go through."""

    async def migration_waits() -> bool:
        query = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'channels'::regclass")
        async with database.looking() as connection:
            return bool(await connection.scalar(query))

    async with database.writing() as connection:
        await write_begun(connection)
        migrating = asyncio.create_task(migrate(database))
        await until(migration_waits)
        await connection.execute(INSERT_OUTBOX)
    assert await migrating == ("0001", migrations._newest())


async def test_tables_that_stay_in_use(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries one line says what to do; nothing is changed, and the write goes through."""
    monkeypatch.setattr(migrations, "_LOCK_TRIES", 2)
    async with database.writing() as connection:
        await write_begun(connection)
        with pytest.raises(TablesInUse, match="stop the backends"):
            await migrate(database)
        await connection.execute(INSERT_OUTBOX)
    with pytest.raises(SetupError, match="at revision 0001"):
        await migrations.check_migrated(database)
    await migrate(database)
    await migrations.check_migrated(database)
