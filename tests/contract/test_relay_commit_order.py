"""Transactions that commit in another order than that of their rows: the relay loses and reorders nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import func, select, text

from backbone.clock import SystemClock
from backbone.database.tables import outbox
from backbone.settings import Settings
from backbone.wiring import open_database
from backend.commands.executor import CommandExecutor
from backend.domain.commands import PostMessage
from tests.support.relaying import Stores, nothing_left, own_stores, relaying, told_by_channel
from tests.support.waiting import until

CLOCK = SystemClock()
GATE = 4711
# A transaction that writes to the slow channel has its positions, and waits before it commits.
SLOW_CHANNEL = [
    f"""CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.ordering_key = 'slow' THEN PERFORM pg_advisory_xact_lock_shared({GATE}); END IF;
        RETURN NULL;
    END $$""",
    "CREATE TRIGGER wait_at_the_gate AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION wait_at_the_gate()",
]


@pytest.fixture
async def stores(real_settings: Settings, unique: str) -> AsyncIterator[Stores]:
    async with own_stores(real_settings, unique) as opened:
        yield opened


def post(channel_id: str) -> PostMessage:
    event_id, message_id = CLOCK.new_id("evt_"), CLOCK.new_id("msg_")
    made_by = CLOCK.new_id("evt_")
    return PostMessage(event_id, message_id, "author", channel_id, "x", channel_event_id=made_by)


async def test_commits_in_another_order_than_their_rows(stores: Stores) -> None:
    """Given rows with small positions that become visible late, each channel is told whole, in order."""
    same_shard = [
        name for name in (f"quick{n}" for n in range(200)) if stores.shard_of(name) == stores.shard_of("slow")
    ][:5]
    async with AsyncExitStack() as stack:
        databases = [open_database(stores.settings) for _ in range(3)]
        for database in databases:
            stack.push_async_callback(database.close)
        first, second, quick = (CommandExecutor(database, CLOCK) for database in databases)
        await first.execute(post("slow"))
        relay = await stack.enter_async_context(relaying(stores.settings))
        await until(lambda: nothing_left(stores.database))
        async with stores.database.reading() as gate:
            await gate.execute(select(func.pg_advisory_lock(GATE)))
            await gate.commit()
            async with stores.database.writing() as connection:
                for statement in SLOW_CHANNEL:
                    await connection.execute(text(statement))
            late = [
                asyncio.create_task(who.execute(post("slow"))) for who in (first, second) for _ in range(3)
            ]
            await until(lambda: waiting_at_the_gate(stores))
            before = await last_position(stores)
            for _ in range(4):
                await asyncio.gather(*(quick.execute(post(name)) for name in same_shard))
            await until(lambda: nothing_left(stores.database))
            assert await last_position(stores) > before
            assert not any(task.done() for task in late)
            await gate.execute(select(func.pg_advisory_unlock(GATE)))
            await gate.commit()
        await asyncio.gather(*late)
        await asyncio.gather(*(quick.execute(post(name)) for name in same_shard))
        await until(lambda: nothing_left(stores.database))
        assert len(relay.relay.owned) == stores.shards
    told = await told_by_channel(stores.eventlog)
    # The channel's own event lies in another topic; posts follow in one partition.
    assert told == {"slow": [*range(2, 9), 1]} | {name: [*range(2, 7), 1] for name in same_shard}


async def waiting_at_the_gate(stores: Stores) -> bool:
    query = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :gate AND NOT granted"
    )
    async with stores.database.reading() as connection:
        return bool(await connection.scalar(query, {"gate": GATE}))


async def last_position(stores: Stores) -> int:
    """Return the last position that was given, in transactions that are under way too."""
    name = await _sequence_name(stores)
    async with stores.database.reading() as connection:
        return int(await connection.scalar(text(f"SELECT last_value FROM {name}")) or 0)


async def _sequence_name(stores: Stores) -> str:
    query = select(func.pg_get_serial_sequence(outbox.name, "position"))
    async with stores.database.reading() as connection:
        return str(await connection.scalar(query))
