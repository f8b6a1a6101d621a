"""A database that answers and takes nothing: writes are refused at once, the probe says so, and it passes."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.errors import translated_commit_errors
from backbone.errors import CommitUnknown, Unavailable
from backbone.health import Health
from backbone.settings import Settings
from backend.commands.executor import CommandExecutor
from backend.domain.commands import PostMessage
from backend.write_health import DEPENDENCY, WriteHealth
from tests.support.database import migrated_database
from tests.support.waiting import until

CLOCK = SystemClock()


class Disk:
    """What a database lies on; while it is `full`, nothing can be written."""

    def __init__(self, database: Database) -> None:
        self.full = False
        event.listen(database.engine.sync_engine, "checkout", self._checked_out)

    def _checked_out(self, connection: Any, _record: object, _proxy: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA query_only = {int(self.full)}")
        cursor.close()


@pytest.fixture
async def database(embedded_settings: Settings, unique: str) -> AsyncIterator[Database]:
    async with migrated_database(embedded_settings, unique) as opened:
        yield opened


def post() -> PostMessage:
    return PostMessage(
        CLOCK.new_id("evt_"), CLOCK.new_id("msg_"), "a", "c", "x", channel_event_id=CLOCK.new_id("evt_")
    )


async def test_a_database_that_takes_nothing(database: Database) -> None:
    """Writes fail at once and `ready` names them; once they go through again, it is found out by itself."""
    disk, health, stop = Disk(database), Health(DEPENDENCY), asyncio.Event()
    writes = WriteHealth(database, health)
    executor = CommandExecutor(database, CLOCK, failed=writes.failed)
    running = asyncio.create_task(writes.run(stop))
    disk.full = True
    for _ in range(3):
        with pytest.raises(Unavailable) as refusal:
            await asyncio.wait_for(executor.execute(post()), 2)
        assert not isinstance(refusal.value, CommitUnknown)
        assert not health.readiness().ready
    disk.full = False

    async def ready() -> bool:
        return health.readiness().ready

    await until(ready)
    assert (await executor.execute(post())).message.sequence == 2
    stop.set()
    await running


@pytest.mark.parametrize(
    ("code", "known"),
    [(sqlite3.SQLITE_FULL, True), (sqlite3.SQLITE_BUSY, True), (sqlite3.SQLITE_IOERR, False)],
)
def test_what_is_known_of_a_commit(code: int, known: bool) -> None:
    """A commit that the database refused is not stored; one that broke off may be."""
    error = sqlite3.OperationalError("database or disk is full, or a disk i/o error")
    error.sqlite_errorcode = code
    with pytest.raises(Unavailable) as raised, translated_commit_errors():
        raise OperationalError("COMMIT", None, error)
    assert isinstance(raised.value, CommitUnknown) is not known
