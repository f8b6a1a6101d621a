"""kill -9 of the platform's own processes, and consumers that come and go."""

import asyncio
from time import monotonic

from backbone.eventlog import EventLog
from backbone.waiting import stopped_within
from backbone.wiring import open_eventlog
from tests.faults.arena import ROUNDS, Arena, apart
from tests.faults.oracle import READ_BY
from tests.faults.platform import others

STAY_S = 1.0
VISITS = 4
"""Of each group, for a round."""


async def test_each_consumer_is_killed(arena: Arena) -> None:
    """Each of the six dies in turn, an indexer and a notifier at a time; nothing is done twice."""
    async with arena.under_load() as load:
        for _ in range(ROUNDS):
            for pair in zip(arena.platform.indexers, arena.platform.notifiers, strict=True):
                for member in pair:
                    member.kill()
                await load.more_acknowledged(20)
                for member in pair:
                    member.start()
                for member in pair:
                    await apart(member.wait_ready)
        began_s = monotonic()
        await arena.shared()
        arena.note(killed="6 consumers", shared_again_after_s=monotonic() - began_s)


async def test_the_relays_owner_is_killed(arena: Arena) -> None:
    """Each backend dies in turn: the other takes its shards over, and what was on its way is told."""
    backends = arena.platform.backends
    async with arena.under_load() as load:
        shards = await arena.shards_spread()
        for number in range(len(backends) * ROUNDS):
            victim = backends[number % len(backends)]
            (other,) = others(backends, victim)
            began_s = monotonic()
            victim.kill()
            await arena.owns(other, shards)
            arena.note(killed="both backends in turn", taken_over_after_s=monotonic() - began_s)
            await load.more_acknowledged(30)
            await arena.more_told()
            victim.start()
            await apart(victim.wait_ready)
            await arena.shards_spread()


async def test_consumers_join_and_leave_every_second(arena: Arena) -> None:
    """One more member of each group comes and goes every second; both groups get on all the same."""
    eventlog, stop = arena.stores.eventlog, asyncio.Event()
    async with arena.under_load() as load:
        visits = dict.fromkeys(READ_BY, 0)
        guests = [asyncio.create_task(come_and_go(arena, group, visits, stop)) for group in READ_BY]
        before = {group: await read_by(eventlog, group) for group in READ_BY}
        most_behind = 0

        async def visited() -> bool:
            nonlocal most_behind
            most_behind = max([most_behind, *[await behind(eventlog, group) for group in READ_BY]])
            return min(visits.values()) >= VISITS * ROUNDS

        try:
            await arena.holds(visited, 10 * VISITS * ROUNDS)
            await load.more_acknowledged(20)
            for group, read in before.items():
                assert await read_by(eventlog, group) > read, f"{group} stood still"
        finally:
            stop.set()
            await asyncio.gather(*guests)
        arena.note(visits=str(sum(visits.values())), most_behind=str(most_behind))
        await arena.shared()


async def come_and_go(arena: Arena, group: str, visits: dict[str, int], stop: asyncio.Event) -> None:
    """Be a member that reads and commits nothing, for a second at a time; count the visits."""
    log = open_eventlog(arena.platform.settings)
    try:
        while not stop.is_set():
            guest = await log.consumer(group, READ_BY[group])
            try:
                leave_s = monotonic() + STAY_S
                while monotonic() < leave_s:
                    await guest.poll(100, 0.2)
            finally:
                await guest.close()
            visits[group] += 1
            await stopped_within(stop, STAY_S)
    finally:
        await log.close()


async def read_by(eventlog: EventLog, group: str) -> int:
    """Return how many records a group has committed."""
    return sum((await eventlog.committed(group, READ_BY[group])).values())


async def behind(eventlog: EventLog, group: str) -> int:
    """Return how many records a group has not committed yet."""
    committed, topics = await eventlog.committed(group, READ_BY[group]), await eventlog.topics()
    return sum(topics[place.topic].end[place.partition] - at for place, at in committed.items())
