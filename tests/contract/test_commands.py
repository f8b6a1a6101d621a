"""The command executor on both databases: groups, neighbours, callers that leave, two processes at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.database.tables import channels, message_events, messages
from backbone.health import Health
from backbone.settings import Settings
from backend.commands.answers import Posted
from backend.commands.executor import CommandExecutor
from backend.domain.commands import EditMessage, PostMessage
from backend.domain.rejections import Forbidden, Overloaded
from backend.outbox_gauge import OutboxGauge
from tests.conftest import ADAPTERS
from tests.support.database import own_database


@pytest.fixture(params=ADAPTERS)
async def url(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[str]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own:
        yield own.database_url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(url)
    await migrate(opened)
    yield opened
    await opened.close()


CLOCK = SystemClock()


def post(content: str = "x", channel: str = "c", actor: str = "a", key: str | None = None) -> PostMessage:
    return PostMessage(
        event_id=CLOCK.new_id("evt_"),
        message_id=CLOCK.new_id("msg_"),
        actor_id=actor,
        channel_id=channel,
        content=content,
        idempotency_key=key,
        channel_event_id=CLOCK.new_id("evt_"),
    )


async def sequences(database: Database, channel: str) -> list[int]:
    query = select(message_events.c.sequence).where(message_events.c.channel_id == channel)
    async with database.reading() as connection:
        return sorted(await connection.scalars(query))


async def test_a_command_that_breaks_the_transaction_harms_no_neighbour(database: Database) -> None:
    """Given one command that the database cannot even be asked about, the others of its group succeed."""
    executor = CommandExecutor(database, CLOCK)
    poison = EditMessage("evt_x", "msg_\x00", "a", content="y")
    results = await asyncio.gather(
        *(executor.execute(post(f"{n}")) for n in range(5)),
        executor.execute(poison),
        *(executor.execute(post(f"{n}")) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Posted) for result in results) == 10
    assert isinstance(results[5], Exception)
    assert await sequences(database, "c") == list(range(1, 12))


async def test_a_rejected_command_harms_no_neighbour(database: Database) -> None:
    """Given a stranger's edit in the middle of a group, only the edit is refused."""
    executor = CommandExecutor(database, CLOCK)
    first = await executor.execute(post())
    edit = EditMessage(CLOCK.new_id("evt_"), first.message.message_id, "stranger", content="y")
    results = await asyncio.gather(
        executor.execute(post()), executor.execute(edit), executor.execute(post()), return_exceptions=True
    )
    assert [type(result) for result in results] == [Posted, Forbidden, Posted]


async def test_a_caller_that_leaves_changes_nothing(database: Database) -> None:
    """Given cancelled callers, their commands are whole: no gap, and state and events agree."""
    executor = CommandExecutor(database, CLOCK)
    callers = [asyncio.create_task(executor.execute(post(f"{n}"))) for n in range(40)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await executor.close()
    stored = await sequences(database, "c")
    assert stored == list(range(1, len(stored) + 1))
    async with database.reading() as connection:
        count = await connection.scalar(select(func.count()).select_from(messages))
    assert count == len(stored) - 1


async def test_two_processes_at_once(url: str, database: Database) -> None:
    """Given two backends that make the same channels and use the same keys, each happens once."""
    second_database = Database(url)
    first, second = CommandExecutor(database, CLOCK), CommandExecutor(second_database, CLOCK)
    try:
        commands = [
            (executor, post(f"{n}", channel=f"c{n % 5}", key=f"k{n}"))
            for n in range(30)
            for executor in (first, second)
        ]
        outcomes = await asyncio.gather(*(executor.execute(command) for executor, command in commands))
    finally:
        await second_database.close()
    ids = {outcome.message.message_id for outcome in outcomes}
    assert (len(ids), sum(outcome.repeated for outcome in outcomes)) == (30, 30)
    for channel in range(5):
        assert await sequences(database, f"c{channel}") == list(range(1, 8))
    async with database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(channels)) == 5


async def test_a_full_outbox_refuses_before_anything_is_stored(database: Database) -> None:
    """Given as many waiting events as are allowed, writes are refused, and `ready` says why."""
    health = Health("database", "outbox")
    gauge = OutboxGauge(database, 4, health)
    executor = CommandExecutor(database, CLOCK, lambda _command: gauge.require_room())
    for _ in range(3):
        await executor.execute(post())
    assert await gauge.look() == 4
    with pytest.raises(Overloaded):
        await executor.execute(post())
    readiness = health.readiness()
    assert (readiness.ready, readiness.status) == (False, "degraded")
    assert await sequences(database, "c") == [1, 2, 3, 4]
