"""kill -9 of the platform's own processes, and consumers that come and go."""

import asyncio
from time import monotonic

from backbone.eventlog import EventLog, TopicPartition
from backbone.waiting import stopped_within
from backbone.wiring import open_eventlog
from schemas.topics import Topic
from tests.faults.arena import ROUNDS, Arena, apart
from tests.faults.oracle import READ_BY
from tests.faults.platform import others

STAY_S = 1.0
VISITS = 4


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
    """One more member of each group comes and goes every second; both groups still get on."""
    stop = asyncio.Event()
    async with arena.under_load() as load:
        guests = [
            asyncio.create_task(come_and_go(arena, group, topics, stop)) for group, topics in READ_BY.items()
        ]
        try:
            for _ in range(ROUNDS * VISITS):
                await load.more_acknowledged(20)
                ends, began_s = await arena.ends(), monotonic()
                await arena.holds(lambda ends=ends: has_read(arena.stores.eventlog, ends), 30)  # type: ignore[misc]
                arena.note(read_on_within_s=monotonic() - began_s)
        finally:
            stop.set()
            visits = await asyncio.gather(*guests)
        arena.note(visits=f"{sum(visits)}")
        await arena.shared()


async def come_and_go(arena: Arena, group: str, topics: tuple[Topic, ...], stop: asyncio.Event) -> int:
    """Be a member that reads and commits nothing, for a second at a time; return how often."""
    visits = 0
    log = open_eventlog(arena.platform.settings)
    try:
        while not stop.is_set():
            guest = await log.consumer(group, topics)
            try:
                leave_s = monotonic() + STAY_S
                while monotonic() < leave_s:
                    await guest.poll(100, 0.2)
            finally:
                await guest.close()
            visits += 1
            await stopped_within(stop, STAY_S)
    finally:
        await log.close()
    return visits


async def has_read(eventlog: EventLog, ends: dict[TopicPartition, int]) -> bool:
    """Say whether every group has committed what lay before these ends."""
    for group, topics in READ_BY.items():
        committed = await eventlog.committed(group, topics)
        if any(at < ends[place] for place, at in committed.items()):
            return False
    return True
