"""Rebuilding the search index on all adapters: equal to the live one, or refused; never in the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from backbone.eventlog import NewRecord
from backbone.search import ItemFailure, Rights, SearchIndex, SearchQuery
from backbone.settings import Settings
from backbone.wiring import open_ports
from indexer.projection import document_of_event
from rebuilder import search as rebuilder_search
from rebuilder.progress import Silent
from rebuilder.report import Report, Source
from rebuilder.search import rebuild_search
from schemas.documents import IndexedDocument
from schemas.topics import ALL_TOPICS
from tests.conftest import ADAPTERS
from tests.support.eventlog import dropped_topics
from tests.support.histories import Platform, history, records_of
from tests.support.indices import dropped_indices
from tests.support.messaging import Talk

SOURCES: tuple[Source, ...] = ("both", "state", "events")
GARBAGE = NewRecord("messages.updated", "일반", "일반", b"\xffnot an event")


@pytest.fixture(params=ADAPTERS)
def settings(request: pytest.FixtureRequest) -> Settings:
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    return chosen


@pytest.fixture
async def platform(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """A log with its topics and an index with its alias, both empty."""
    monkeypatch.setattr(rebuilder_search, "DROP_GRACE_S", 0.0)
    async with dropped_topics(settings), dropped_indices(settings), open_ports(settings) as ports:
        platform = Platform(ports.eventlog, ports.search)
        await platform.set_up()
        yield platform


async def rebuild(platform: Platform, source: Source = "both", **options: Any) -> Report:
    search = options.pop("search", platform.search)
    options = {"dry_run": False, "progress": Silent(), **options}
    return await rebuild_search(platform.eventlog, search, source, **options)


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
    assert await platform.search.indices() == [report.index]
    assert report.dropped == (before,)
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

    report = await rebuild(platform, search=Meddling(platform.search, before_swap=late_batch))
    assert report.outcome == "swapped"
    assert await platform.documents() == made.expected


async def test_a_record_that_cannot_be_read_refuses_the_swap(platform: Platform) -> None:
    """It is named by its place; the live index stays, the new one is gone."""
    made = history(6, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.append([GARBAGE])
    before = await platform.search.current()

    report = await rebuild(platform)

    assert (report.outcome, report.exit_code, report.counts.problems) == ("refused", 1, 1)
    (problem,) = report.problems
    assert (problem.topic, problem.reason.partition(":")[0]) == ("messages.updated", "cannot be read")
    assert f"{problem.topic}/{problem.partition}/{problem.offset}" in "\n".join(report.lines())
    assert await platform.search.current() == before
    assert await platform.search.indices() == [before]
    assert await platform.documents() == made.expected
    dry = await rebuild(platform, dry_run=True)
    assert (dry.outcome, dry.exit_code) == ("dry run", 1)


async def test_two_contents_of_one_version_refuse_the_swap(platform: Platform) -> None:
    """An event and a state that say different things: nobody can tell which is right."""
    post, other = Talk().post("하나", message_id="msg_1"), Talk().post("둘", message_id="msg_1")
    await platform.append([records_of(post)[0], records_of(other)[1]])
    report = await rebuild(platform)
    assert report.outcome == "refused"
    assert "msg_1 version 2 reads otherwise" in report.problems[0].reason


async def test_an_index_that_lost_a_message_is_not_swapped_in(platform: Platform) -> None:
    """Given a server that acknowledges a document and does not keep it, the proof finds the channel."""
    made = history(7, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    lost = next(id_ for id_, document in made.expected.items() if document.channel == "ops")
    before = await platform.search.current()
    report = await rebuild(platform, search=Meddling(platform.search, losing=lost))
    assert (report.outcome, report.differing_channels) == ("refused", ("ops",))
    assert await platform.search.indices() == [before]


async def test_a_document_that_the_index_refuses_is_named(platform: Platform) -> None:
    made = history(8, messages=5)
    await platform.tell(made.events)
    refused = next(iter(made.expected))
    report = await rebuild(platform, search=Meddling(platform.search, refusing=refused))
    assert report.outcome == "refused"
    assert report.problems[0].reason == "the index refused it: too strange"


async def test_a_search_notices_nothing(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given searches without a pause during two rebuilds, each finds every message and none fails."""
    monkeypatch.setattr(rebuilder_search, "DROP_GRACE_S", 0.5)
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


async def test_a_dry_run_changes_nothing(platform: Platform) -> None:
    """It reads the log, compares it with the live index, and says where they differ."""
    made = history(10, messages=30)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.search.refresh()
    before, live = await platform.search.indices(), await platform.documents()
    same = await rebuild(platform, dry_run=True)
    assert (same.outcome, same.index, same.counts.differing_channels, same.exit_code) == (
        "dry run",
        None,
        0,
        0,
    )
    await platform.tell([Talk("새 채널").post("아직 아무도 색인하지 않은 말")])
    differs = await rebuild(platform, dry_run=True)
    assert differs.differing_channels == ("새 채널",)
    assert await platform.search.indices() == before
    assert await platform.documents() == live


async def test_rebuilding_twice_is_rebuilding_once(platform: Platform) -> None:
    """Each rebuild leaves one index, unless it is told to keep the old one, which the next then drops."""
    made = history(11, messages=20)
    await platform.tell(made.events)
    first = await rebuild(platform)
    kept = await rebuild(platform, keep=True)
    assert await platform.search.indices() == [first.index, kept.index]
    assert kept.dropped == ()
    last = await rebuild(platform)
    assert last.dropped == (first.index, kept.index)
    assert await platform.search.indices() == [last.index]
    assert first.digests == last.digests
    assert await platform.documents() == made.expected


async def test_interrupted_it_leaves_the_alias_alone(platform: Platform) -> None:
    """Given Ctrl-C while the index is filled, the live index stays and the new one is dropped."""
    made = history(12, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    before = await platform.search.current()
    filling = asyncio.Event()
    search = Meddling(platform.search, before_put=hang_after(filling))
    task = asyncio.create_task(rebuild(platform, search=search))
    await filling.wait()
    assert len(await platform.search.indices()) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await platform.search.indices() == [before]
    assert await platform.documents() == made.expected


async def test_interrupted_after_the_swap_it_finishes_first(platform: Platform) -> None:
    """Ctrl-C as the alias has moved: what went to the old index is still brought in before it ends."""
    made = history(13, messages=20)
    await platform.tell(made.events)
    tasks: list[asyncio.Task[Report]] = []

    async def late_batch_and_ctrl_c() -> None:
        events = made.go_on(5)
        await platform.tell(events)
        await platform.search.put([document_of_event(event) for event in events])
        tasks[0].cancel()

    search = Meddling(platform.search, before_swap=late_batch_and_ctrl_c)
    tasks.append(asyncio.create_task(rebuild(platform, search=search)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await platform.documents() == made.expected
    assert len(await platform.search.indices()) == 1


async def test_what_a_killed_rebuild_left_is_cleaned_up(platform: Platform) -> None:
    """Given an index behind no alias, newer than the live one, the next rebuild drops it."""
    leftover = await platform.search.create_next()
    await platform.search.put([document_of_event(Talk().post("반쯤"))], index=leftover)
    report = await rebuild(platform)
    assert await platform.search.indices() == [report.index]
    assert await platform.documents() == {}


def hang_after(reached: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    return hang


async def _nothing() -> None:
    pass


class Meddling:
    """A real index, with one fault, or with something happening at the worst moment."""

    def __init__(
        self,
        search: SearchIndex,
        *,
        losing: str | None = None,
        refusing: str | None = None,
        before_put: Callable[[], Awaitable[None]] = _nothing,
        before_swap: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._search = search
        self._losing = losing
        self._refusing = refusing
        self._before_put = before_put
        self._before_swap = before_swap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._search, name)

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        await self._before_put()
        taken = [each for each in documents if each.message_id not in (self._losing, self._refusing)]
        refused = [
            ItemFailure(each.message_id, "too strange")
            for each in documents
            if each.message_id == self._refusing
        ]
        return await self._search.put(taken, index) + refused

    async def swap(self, index: str) -> str | None:
        await self._before_swap()
        return await self._search.swap(index)
