"""Owners that lose their session on PostgreSQL: frozen in whatever moment, or cut off unseen."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database import ownership as ownership_module
from backbone.database.engine import Database
from backbone.database.ownership import as_owner, ownership, while_owner
from backbone.errors import Unavailable
from backbone.health import Health
from backbone.relay import owned_shard
from backbone.settings import Settings
from tests.support.database import own_database
from tests.support.messaging import Talk
from tests.support.relaying import left, own_stores, put
from tests.support.waiting import until

# Freezes while the server sends it more than any buffer takes.
FROZEN_READER = """
import asyncio, os, signal, sys
from sqlalchemy import text
from backbone.database.engine import Database
from backbone.database.ownership import ownership

async def main():
    async with ownership(Database(sys.argv[1]), "relay/x") as connection:
        asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGSTOP)
        async with connection.begin():
            await connection.execute(text(
                "SELECT repeat('x', 160000) FROM (SELECT pg_sleep(1)) AS later, generate_series(1, 500)"
            ))

asyncio.run(main())
"""
SENDING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND datname = :name")


@pytest.fixture
async def own(real_settings: Settings, unique: str) -> AsyncIterator[Settings]:
    async with own_database(real_settings, unique) as settings:
        yield settings


@pytest.fixture
async def database(own: Settings) -> AsyncIterator[Database]:
    opened = Database(own.database_url)
    yield opened
    await opened.close()


async def test_an_owner_that_froze_while_it_was_sent_rows_loses_its_session(
    own: Settings, database: Database
) -> None:
    """The server does not wait for a reader that takes nothing: within 12 s the next one is the owner."""

    async def is_sending() -> bool:
        async with database.reading() as connection:
            return bool(await connection.scalar(SENDING, {"name": database.url.database}))

    async def is_mine() -> bool:
        async with ownership(database, "relay/x") as connection:
            return connection is not None

    frozen = await asyncio.create_subprocess_exec(sys.executable, "-c", FROZEN_READER, own.database_url)
    try:
        await until(is_sending)
        await until(is_mine, within_s=12)
        assert frozen.returncode is None
    finally:
        frozen.kill()
        await frozen.wait()


async def end_session(database: Database, connection: AsyncConnection) -> None:
    """End the session of the connection, as the server does with one that it takes for frozen."""
    raw = await connection.get_raw_connection()
    assert raw.driver_connection is not None
    pid = raw.driver_connection.get_server_pid()
    async with database.reading() as other:
        await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


async def test_work_that_ends_as_the_ownership_is_lost_is_not_taken_for_the_owners(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat that fails in the very moment in which the work ends is heard of all the same."""
    monkeypatch.setattr(ownership_module, "HEARTBEAT_S", 0.05)

    with pytest.raises(Unavailable):
        await _work_until_lost(database)


async def _work_until_lost(database: Database) -> None:
    async with ownership(database, "relay/x") as mine:
        assert mine is not None

        async def invalidated() -> bool:
            return mine.invalidated

        async def work() -> None:
            await end_session(database, mine)
            # It sees the loss in the turn of the loop in which the heartbeat does.
            await until(invalidated, every_s=0)

        await while_owner(database, mine, work())


async def test_who_lost_the_session_gets_no_other_one(database: Database) -> None:
    """Each further use fails: the lock is not on the session that a new connection would have."""
    async with ownership(database, "relay/x") as mine:
        assert mine is not None
        await end_session(database, mine)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await _use(mine)


async def _use(mine: AsyncConnection) -> None:
    async with as_owner(mine):
        await mine.execute(text("SELECT 1"))


async def test_a_shard_whose_session_was_lost_is_not_worked_on(real_settings: Settings, unique: str) -> None:
    """Step after step fails, and nothing is told, until the shard is owned anew."""
    async with own_stores(real_settings, unique) as stores:
        shard = stores.shard_of("c0")
        owning = owned_shard(stores.database, stores.eventlog, "messages", shard, Health("database"))
        async with owning as owned:
            assert owned is not None
            await put(stores.database, [Talk("c0").post("x")])
            await end_session(stores.database, owned._connection)
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await owned.step()
            assert await left(stores.database) == 1
        assert await stores.drain() == 1
