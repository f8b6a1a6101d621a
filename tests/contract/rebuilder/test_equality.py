"""A rebuilt search index equals the live one, whatever goes on meanwhile, and nobody notices."""

import asyncio

import pytest

from backbone.search import Rights, SearchQuery
from backbone.settings import Settings
from backbone.wiring import open_ports
from indexer.projection import document_of_event
from rebuilder.readers import Source
from rebuilder.search import target
from schemas.topics import ALL_TOPICS
from tests.support.eventlog import dropped_topics
from tests.support.histories import Platform, history
from tests.support.rebuilding import SOURCES, Meddling, rebuild
from tests.support.search import dropped_indices


@pytest.mark.parametrize("source", SOURCES)
async def test_a_rebuilt_index_is_the_live_one(platform: Platform, source: Source) -> None:
    """Given edits, deletions, a private channel and repeats, the new index equals the old one."""
    made = history(1)
    await platform.tell(made.events)
    await platform.tell(made.events[40:60])
    await platform.index_everything()
    before, live = await platform.search.current(), await platform.documents()
    assert live == made.expected

    report = await rebuild(platform, source)

    assert report.outcome == "swapped"
    assert await platform.documents() == live
    assert report.index_before == before
    assert report.index == await platform.search.current() != before
    assert await platform.search.indices() == [before, report.index]
    assert (report.kept, report.dropped) == (before, ())
    assert report.counts.messages == len(live)
    assert report.counts.deleted == sum(document.deleted for document in live.values())
    assert report.counts.channels == 3
    assert set(report.digests) == {"일반", "ops", "비밀"}
    assert report.exit_code == 0


async def test_sources_agree(platform: Platform) -> None:
    """From states, from events or from both: the same digests."""
    await platform.tell(history(2).events)
    reports = [await rebuild(platform, source) for source in SOURCES]
    assert len({str(report.digests) for report in reports}) == 1


async def test_an_empty_log_makes_an_empty_index(platform: Platform) -> None:
    assert (await rebuild(platform)).counts.messages == 0
    assert await platform.documents() == {}


async def test_without_an_alias_one_is_made(settings: Settings) -> None:
    """Given a search that lost everything, the log alone brings it back."""
    async with dropped_topics(settings), dropped_indices(settings), open_ports(settings) as ports:
        await ports.eventlog.apply_topics(ALL_TOPICS, 3)
        platform = Platform(ports.eventlog, ports.search)
        made = history(3, messages=20)
        await platform.tell(made.events)
        report = await rebuild(platform)
        assert (report.outcome, report.index_before) == ("swapped", None)
        assert await platform.documents() == made.expected


@pytest.mark.parametrize("source", SOURCES)
async def test_writes_go_on_meanwhile(platform: Platform, source: Source) -> None:
    """Given a writer and an indexer that never stop, no message is missing afterwards and none is old."""
    made = history(4)
    await platform.tell(made.events)

    async def write_and_index(until: asyncio.Event) -> None:
        while not until.is_set():
            await platform.tell(made.go_on(5))
            await platform.index_everything()

    rebuilt = asyncio.Event()
    before = len(made.events)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_and_index(rebuilt))
        report = await rebuild(platform, source)
        meanwhile = len(made.events) - before
        rebuilt.set()
    assert report.outcome == "swapped"
    assert meanwhile > 0
    await platform.index_everything()
    assert await platform.documents() == made.expected


async def test_what_goes_to_the_old_index_as_the_alias_moves_is_in_the_new_one(platform: Platform) -> None:
    """Given an indexer that wrote a batch to the old index just before the swap, and commits it after."""
    made = history(5, messages=20)
    await platform.tell(made.events)

    async def late_batch() -> None:
        events = made.go_on(10)
        await platform.tell(events)
        await platform.search.put([document_of_event(event) for event in events])

    report = await rebuild(platform, search=Meddling(platform.search, before_hold=late_batch))
    assert report.outcome == "swapped"
    assert await platform.documents() == made.expected


async def test_a_search_notices_nothing(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given searches without a pause during two rebuilds, each finds every message and none fails."""
    monkeypatch.setattr(target, "DROP_GRACE_S", 0.5)
    made = history(9, messages=60)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.search.refresh()
    rights = Rights(("비밀",))
    query = SearchQuery(sort="newest")
    live = sum(not document.deleted for document in made.expected.values())
    searched = 0

    async def search_on(until: asyncio.Event) -> None:
        nonlocal searched
        while not until.is_set():
            page = await platform.search.search(query, rights, 20)
            assert page.total == live
            searched += 1

    rebuilt = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(search_on(rebuilt))
        for _ in range(2):
            assert (await rebuild(platform)).outcome == "swapped"
        rebuilt.set()
    assert searched > 10


async def test_rebuilding_twice_is_rebuilding_once(platform: Platform) -> None:
    """Each rebuild leaves its index and the one before, or with `drop` its own alone."""
    made = history(11, messages=20)
    await platform.tell(made.events)
    first = await rebuild(platform)
    second = await rebuild(platform)
    assert await platform.search.indices() == [first.index, second.index]
    assert (second.kept, second.dropped) == (first.index, (first.index_before,))
    last = await rebuild(platform, drop=True)
    assert (last.kept, last.dropped) == (None, (first.index, second.index))
    assert await platform.search.indices() == [last.index]
    assert await platform.search.previous() is None
    assert first.digests == last.digests
    assert await platform.documents() == made.expected
