"""Several relays on real servers: they share the shards, hear of each other's writes, and take over."""

import signal
import statistics
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from backbone.relay.lane import POLL_S
from backbone.settings import Settings
from schemas.topics import MESSAGES_CREATED
from tests.support.messaging import Talk
from tests.support.relaying import (
    Stores,
    last_versions,
    nothing_left,
    own_stores,
    owns,
    process,
    put,
    relaying,
    told_by_channel,
)
from tests.support.waiting import until

TALKS = 12
HAND_OVER_S = 10.0


@pytest.fixture
async def stores(real_settings: Settings, unique: str) -> AsyncIterator[Stores]:
    async with own_stores(real_settings, unique) as opened:
        yield opened


async def test_the_shards_are_shared(stores: Stores) -> None:
    """Of three relays each has its part, no shard has two owners, and one that stops leaves its part."""
    async with relaying(stores.settings) as first:
        await until(lambda: owns(first, stores.shards))
        async with relaying(stores.settings) as second, relaying(stores.settings) as third:
            every = (first, second, third)

            async def shared() -> bool:
                parts = [member.relay.owned for member in every]
                return sum(map(len, parts)) == len(set().union(*parts)) == stores.shards and all(parts)

            await until(shared)
        await until(lambda: owns(first, stores.shards), within_s=3)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_dies_or_freezes_is_replaced(stores: Stores, how: signal.Signals) -> None:
    """Within 10 s its shards are another's, all is told in order; one that wakes again takes part again."""
    talks = [Talk(f"c{n}") for n in range(TALKS)]
    async with relaying(stores.settings) as other:
        await until(lambda: owns(other, stores.shards))
        with process(stores.settings) as victim:
            await until(lambda: owns(other, stores.shards // 2), within_s=20)
            await put(stores.database, [talk.post("x") for talk in talks])
            await until(lambda: nothing_left(stores.database))
            victim.send_signal(how)
            for _ in range(5):
                await put(stores.database, [talk.post("x") for talk in talks])
            await until(lambda: nothing_left(stores.database), within_s=HAND_OVER_S)
            assert await owns(other, stores.shards)
            if how is signal.SIGSTOP:
                victim.send_signal(signal.SIGCONT)
                await until(lambda: owns(other, stores.shards // 2), within_s=20)
            await put(stores.database, [talk.post("x") for talk in talks])
            await until(lambda: nothing_left(stores.database))
    told = await told_by_channel(stores.eventlog)
    assert {channel: sorted(set(sequences)) for channel, sequences in told.items()} == {
        talk.channel_id: list(range(2, 9)) for talk in talks
    }
    for sequences in told.values():
        assert sequences == sorted(sequences)


async def test_sessions_that_end_are_made_anew(stores: Stores) -> None:
    """The server ends every session of the relays under load: nothing is lost or told out of order."""
    talks = [Talk(f"c{n}") for n in range(TALKS)]
    posted: dict[str, str] = {}
    async with relaying(stores.settings) as first, relaying(stores.settings) as second:
        await until(lambda: owns(first, stores.shards // 2))
        for round_ in range(30):
            events = [talk.edit(posted[talk.channel_id], "y") if round_ else talk.post("x") for talk in talks]
            posted.update({event.payload.channel_id: event.payload.message_id for event in events})
            await put(stores.database, events)
            if round_ % 10 == 5:
                await until(lambda: sessions_ended(stores))
        await until(lambda: nothing_left(stores.database), within_s=20)
        await until(lambda: owns(first, stores.shards // 2))
        await until(lambda: owns(second, stores.shards // 2))
    told = await told_by_channel(stores.eventlog)
    for talk in talks:
        assert sorted(set(told[talk.channel_id])) == list(range(2, 32))
    assert set((await last_versions(stores.eventlog)).values()) == {31}


async def sessions_ended(stores: Stores) -> int:
    """End all sessions with advisory locks: those of the owners, and those by which they know each other."""
    query = text(
        "SELECT count(pg_terminate_backend(pid)) FROM (SELECT DISTINCT pid FROM pg_locks"
        " WHERE locktype = 'advisory' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())) AS owners"
    )
    async with stores.database.reading() as connection:
        return int(await connection.scalar(query) or 0)


async def test_a_write_is_told_at_once_whoever_took_it(stores: Stores) -> None:
    """A wake-up reaches the owner in another process, long before the owner looks by itself."""
    talks = [Talk(f"c{n}") for n in range(TALKS)]
    async with relaying(stores.settings) as writer, relaying(stores.settings) as other:
        await until(lambda: owns(writer, stores.shards // 2))
        await until(lambda: owns(other, stores.shards // 2))
        reader = await stores.eventlog.reader([MESSAGES_CREATED])
        taken: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(3):
            for talk in talks:
                shard = stores.shard_of(talk.channel_id)
                await put(stores.database, [talk.post("x")])
                began_s = time.perf_counter()
                writer.relay.wake([shard])
                while not await reader.read(10, 1.0):
                    pass
                taken[shard in writer.relay.owned].append(time.perf_counter() - began_s)
        for times in taken.values():
            assert statistics.median(times) < POLL_S / 4
