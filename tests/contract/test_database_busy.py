"""Requests that take all connections they may: whoever tells the log, answers probes or writes goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import SystemClock
from backbone.database import engine
from backbone.database.engine import Database
from backbone.database.ownership import ownership
from backbone.database.tables import channels
from backbone.errors import Busy
from backbone.health import Health, keep_asking
from backbone.outbox_watch import OutboxWatch
from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.database import migrated_database
from tests.support.messaging import Talk
from tests.support.relaying import put

PROMPTLY_S = 1.0


@pytest.fixture(params=ADAPTERS)
async def database(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Database]:
    settings = request.getfixturevalue(f"{request.param}_settings")
    async with migrated_database(settings, unique) as opened:
        yield opened


@pytest.fixture
async def real_database(real_settings: Settings, unique: str) -> AsyncIterator[Database]:
    async with migrated_database(real_settings, unique) as opened:
        yield opened


@asynccontextmanager
async def held(block: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> AsyncIterator[None]:
    """Forty requests that stay in the block, or wait for their turn, as long as this one."""
    done = asyncio.Event()
    inside = 0
    first_ones = asyncio.Event()

    async def hold() -> None:
        nonlocal inside
        async with block() as connection:
            await connection.execute(text("SELECT 1"))
            inside += 1
            if inside >= engine.AT_ONCE:
                first_ones.set()
            await done.wait()

    holding = [asyncio.create_task(hold()) for _ in range(40)]
    try:
        await asyncio.wait_for(first_ones.wait(), 10)
        yield
    finally:
        done.set()
        await asyncio.gather(*holding)


async def test_slow_reads_hold_up_nobody_else(database: Database) -> None:
    """With more readers than connections a write, a probe, the gauge and an owner get theirs at once."""
    async with held(database.reading), asyncio.timeout(PROMPTLY_S):
        await database.ask()
        await put(database, [Talk("c").post("x")])
        assert await OutboxWatch(database, "messages", SystemClock()).look() == 1
        async with AsyncExitStack() as owning:
            for number in range(10):
                assert await owning.enter_async_context(ownership(database, f"relay/{number}"))


async def test_slow_writes_hold_up_no_probe(real_database: Database) -> None:
    """Nor do many writers keep readers, probes and owners out."""
    async with held(real_database.writing), asyncio.timeout(PROMPTLY_S):
        await real_database.ask()
        async with real_database.reading() as connection:
            assert (await connection.execute(select(channels))).all() == []
        async with AsyncExitStack() as owning:
            for number in range(10):
                assert await owning.enter_async_context(ownership(real_database, f"relay/{number}"))


async def test_who_gets_no_turn_is_told_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader waits a while and no longer; later there is room again, for as many as before."""
    monkeypatch.setattr(engine, "_TURN_WITHIN_S", 0.05)
    done = asyncio.Event()
    busy = 0

    async def read() -> None:
        nonlocal busy
        try:
            async with database.reading():
                await done.wait()
        except Busy:
            busy += 1
            if busy == 3:
                done.set()

    for _ in range(3):
        done.clear()
        busy = 0
        await asyncio.gather(*(read() for _ in range(engine.AT_ONCE + 3)))
        assert busy == 3


async def test_a_process_that_is_busy_is_no_dependency_that_is_down() -> None:
    """The probe keeps saying of the database what was last known of it."""
    health, stop = Health("database"), asyncio.Event()
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            stop.set()
        raise Busy("database", "all connections are in use")

    await keep_asking(health, "database", ask, 0.0, stop)
    assert health.readiness().ready
    assert health.readiness().dependencies == {"database": "ok"}
