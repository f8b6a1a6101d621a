"""The purge of what was deleted past the replay horizon, through log and index, on both sets of adapters."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from backbone.clock import SystemClock
from backbone.errors import Unavailable
from backbone.eventlog import NewRecord
from backbone.search import Tombstone
from backbone.settings import Settings
from backbone.wiring import open_ports
from indexer import purging
from indexer.projection import document_of_event
from indexer.purging import PURGED_AFTER_MS, Purge
from schemas.documents import SearchDocument
from schemas.events import MessageDeleted
from schemas.topics import MESSAGES_CREATED
from tests.conftest import ADAPTERS
from tests.support.eventlog import dropped_topics
from tests.support.histories import History, Platform, history
from tests.support.messaging import MOMENT_MS
from tests.support.search import dropped_indices
from tests.support.waiting import until

BEYOND_MS = MOMENT_MS + PURGED_AFTER_MS + 60_000


class Hand(SystemClock):
    """A clock set by hand."""

    def __init__(self, moment_ms: int) -> None:
        super().__init__()
        self.moment_ms = moment_ms

    def now_ms(self) -> int:
        return self.moment_ms


@pytest.fixture(params=ADAPTERS)
async def platform(request: pytest.FixtureRequest) -> AsyncIterator[Platform]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with dropped_topics(settings), dropped_indices(settings), open_ports(settings) as ports:
        platform = Platform(ports.eventlog, ports.search)
        await platform.set_up()
        yield platform


def purge_at(platform: Platform, moment_ms: int = BEYOND_MS) -> Purge:
    return Purge(platform.eventlog, platform.search, Hand(moment_ms))


def living(made: History) -> dict[str, SearchDocument]:
    return {key: document for key, document in made.expected.items() if not document.deleted}


async def indexed(platform: Platform) -> History:
    """Tell and index a history with deletions; return it."""
    made = history(1)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.search.refresh()
    return made


async def test_a_deletion_ends_past_the_horizon(platform: Platform) -> None:
    """Given deletions, they stay until the horizon and are gone after it; every other message stays."""
    made = await indexed(platform)
    assert await purge_at(platform, MOMENT_MS + PURGED_AFTER_MS).step() == 0
    assert await platform.documents() == made.expected

    deleted = len(made.expected) - len(living(made))
    assert await purge_at(platform).step() == deleted > 5
    assert await platform.documents() == living(made)
    assert await purge_at(platform).step() == 0


async def test_several_indexers_purge_at_once(platform: Platform) -> None:
    """Given three that look at the same moment, each document is removed once, and nothing else is."""
    made = await indexed(platform)
    removed = await asyncio.gather(*(purge_at(platform).step() for _ in range(3)))
    assert sum(removed) == len(made.expected) - len(living(made))
    assert await platform.documents() == living(made)


async def test_nothing_is_purged_before_its_messages_events_are_applied(platform: Platform) -> None:
    """Given a backlog in which deletions were read first, they stay until all is read: none comes back."""
    made = history(2)
    await platform.tell(made.events)
    deletions = [document_of_event(event) for event in made.events if isinstance(event, MessageDeleted)]
    await platform.search.put(deletions)
    await platform.search.refresh()

    purge = purge_at(platform)
    assert await purge.step() == 0
    assert await platform.documents() == dict(deletions)

    await platform.index_everything()
    assert await purge.step() == len(deletions)
    assert await platform.documents() == living(made)


async def test_nothing_is_purged_while_something_is_parked(platform: Platform) -> None:
    """Given a stopped channel, whose parked events may be applied one day, every deletion stays."""
    made = await indexed(platform)
    await platform.append(NewRecord(MESSAGES_CREATED.name, "ops", "ops", b'{"payload":{"channel_id":"ops"}}'))
    await platform.index_everything()
    assert await purge_at(platform).step() == 0
    assert await platform.documents() == made.expected


async def test_it_goes_on_by_itself(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an index that is away for a look, batches follow one another until nothing is due; it stops."""
    for name in ("LOOK_EVERY_S", "PACE_S"):
        monkeypatch.setattr(purging, name, 0.01)
    monkeypatch.setattr(purging, "BATCH_MAX", 3)
    made = await indexed(platform)
    look, looks = platform.search.tombstones, 0

    async def away_at_first(before_ms: int, limit: int) -> list[Tombstone]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise Unavailable("search", "away")
        return await look(before_ms, limit)

    monkeypatch.setattr(platform.search, "tombstones", away_at_first)
    stop = asyncio.Event()
    running = asyncio.create_task(purge_at(platform).run(stop))

    async def purged() -> bool:
        return await platform.documents() == living(made)

    try:
        await until(purged, every_s=0.1)
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running
    assert looks > 3
