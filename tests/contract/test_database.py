"""The database port on SQLite and on PostgreSQL: transactions, migrations, ownership, errors."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from backbone.database import migrations
from backbone.database.engine import Database
from backbone.database.migrations import check_migrated, migrate
from backbone.database.ownership import ownership
from backbone.database.tables import INDEXES_BY_CODE_POINT, channels, metadata
from backbone.errors import SetupError, Unavailable
from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.database import own_database
from tests.support.waiting import until

CHANNEL: dict[str, object] = {
    "channel_id": "일반",
    "name": "일반",
    "private": False,
    "created_by": "철수",
    "created_at": 1,
    "last_sequence": 1,
    "last_event_at": 1,
}


@pytest.fixture(params=ADAPTERS)
async def url(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[str]:
    """The URL of an empty database of the adapter under test."""
    async with own_database(request.getfixturevalue(f"{request.param}_settings"), unique) as own:
        yield own.database_url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(url)
    yield opened
    await opened.close()


async def test_it_says_what_to_do_before_the_first_migration(database: Database) -> None:
    """Without tables the check, and any query, name `maeari migrate`."""
    with pytest.raises(SetupError, match="maeari migrate"):
        await check_migrated(database)
    with pytest.raises(SetupError, match="maeari migrate"):
        async with database.reading() as connection:
            await connection.execute(select(channels))


async def test_migrations_make_exactly_the_tables(database: Database) -> None:
    """After migrating, the database and the tables in code do not differ; once more changes nothing."""
    assert (await migrate(database))[0] is None
    before, after = await migrate(database)
    assert before == after
    await check_migrated(database)

    def included(name: str | None, _kind: str, _parents: object) -> bool:
        return name not in INDEXES_BY_CODE_POINT

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"include_name": included})
        return list(compare_metadata(context, metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_server_that_is_too_old_is_refused(
    real_settings: Settings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lacks a setting that owners rely on is not begun with; one line names the version needed."""
    monkeypatch.setattr(migrations, "_OLDEST_POSTGRES", 99)
    async with own_database(real_settings, unique) as own:
        database = Database(own.database_url)
        try:
            for start in (migrate, check_migrated):
                with pytest.raises(SetupError, match=r"PostgreSQL 99 or newer is needed"):
                    await start(database)
        finally:
            await database.close()


async def test_two_migrations_at_once(url: str) -> None:
    """Two processes that migrate together both succeed."""
    first, second = Database(url), Database(url)
    try:
        await asyncio.gather(migrate(first), migrate(second))
        await check_migrated(first)
    finally:
        await first.close()
        await second.close()


async def test_a_transaction_is_whole_or_absent(database: Database) -> None:
    """A block that fails leaves nothing; one that ends is there for other connections."""
    await migrate(database)
    with pytest.raises(ValueError, match="on purpose"):
        await _insert_and_fail(database)
    async with database.reading() as connection:
        assert (await connection.execute(select(channels))).all() == []
    await _insert(database, [CHANNEL])
    async with database.reading() as connection:
        row = (await connection.execute(select(channels))).mappings().one()
    assert dict(row) == CHANNEL


async def test_a_double_key_is_an_integrity_error(database: Database) -> None:
    """A key that exists is neither Unavailable nor swallowed: the caller decides what it means."""
    await migrate(database)
    with pytest.raises(IntegrityError):
        await _insert(database, [CHANNEL, CHANNEL])


async def test_one_owner_at_a_time(url: str) -> None:
    """A name has one owner; when it lets go, or its process is gone, the next one gets it."""
    first, second = Database(url), Database(url)
    try:
        async with ownership(first, "relay/x") as mine:
            assert mine is not None
            async with ownership(second, "relay/x") as theirs:
                assert theirs is None
            async with ownership(second, "relay/y") as other:
                assert other is not None
        async with ownership(second, "relay/x") as now_theirs:
            assert now_theirs is not None
    finally:
        await first.close()
        await second.close()


async def test_an_owner_that_froze_loses_its_session(real_settings: Settings, unique: str) -> None:
    """PostgreSQL ends the session of an owner that says nothing for 5 s: the next one takes over."""
    async with own_database(real_settings, unique) as own:
        frozen, next_one = Database(own.database_url), Database(own.database_url)
        try:
            with pytest.raises(Unavailable):
                await _freeze_until_taken_over(frozen, next_one)
        finally:
            await frozen.close()
            await next_one.close()


async def _freeze_until_taken_over(frozen: Database, next_one: Database) -> None:
    async with ownership(frozen, "relay/x") as mine:
        assert mine is not None
        await until(lambda: _owned(next_one, "relay/x"), within_s=10)
        await mine.execute(select(1))


async def _owned(database: Database, name: str) -> bool:
    async with ownership(database, name) as connection:
        return connection is not None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://maeari@127.0.0.1:9/maeari",
        "postgresql+asyncpg://maeari@no-such-host.invalid:5432/maeari",
        "sqlite+aiosqlite:////proc/no/database.sqlite3",
    ],
)
async def test_a_database_that_is_not_there_is_one_line(url: str) -> None:
    """Whatever the driver raises becomes Unavailable, or SetupError for a folder, in one line."""
    with pytest.raises((Unavailable, SetupError)) as raised:
        await migrate(Database(url))
    assert "\n" not in str(raised.value)


async def test_no_such_database(stack: Settings) -> None:
    """A server that refuses the name, user or password is Unavailable, with the server's words."""
    database = Database(stack.database_url.rsplit("/", 1)[0] + "/no_such_database")
    with pytest.raises(Unavailable, match="no_such_database"):
        await check_migrated(database)
    await database.close()


async def _insert(database: Database, rows: list[dict[str, object]]) -> None:
    async with database.writing() as connection:
        await connection.execute(channels.insert(), rows)


async def _insert_and_fail(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(channels.insert(), [CHANNEL])
        raise ValueError("on purpose")
