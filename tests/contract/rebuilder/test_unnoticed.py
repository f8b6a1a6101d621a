"""Rebuilds and a rollback beside a writer, the indexer's own loop, and searches without a pause."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from backbone.health import Health
from backbone.search import CursorExpired, Rights, SearchIndex, SearchQuery
from backbone.settings import Settings
from backbone.wiring import open_ports
from indexer.service import Indexer
from tests.support.histories import Platform
from tests.support.messaging import Talk
from tests.support.rebuilding import rebuild
from tests.support.waiting import until

POSTED_AT_ONCE = 5
# The searcher reads everything each time: a writer without rest makes that longer and longer.
PAUSE_S = 0.1
EVERY_WORD = SearchQuery(words=("release",), sort="relevance")


@dataclass
class Writer:
    """Posts without end, and edits what it posted; every text holds the word that is searched."""

    platform: Platform
    talks: list[Talk] = field(default_factory=lambda: [Talk("일반"), Talk("ops")])
    versions: dict[str, int] = field(default_factory=dict)

    async def write(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for talk in self.talks:
                posts = [talk.post(f"release {number}") for number in range(POSTED_AT_ONCE)]
                edits = [talk.edit(post.payload.message_id, "release, edited") for post in posts[:2]]
                await self.platform.tell([*posts, *edits])
                self.versions |= {post.payload.message_id: post.payload.version for post in posts}
                self.versions |= {edit.payload.message_id: edit.payload.version for edit in edits}
            await asyncio.sleep(PAUSE_S)


@dataclass
class Searcher:
    """Looks again and again: what it once found stays found, in that version or a newer one."""

    search: SearchIndex
    seen: dict[str, int] = field(default_factory=dict)
    indices: set[str] = field(default_factory=set)
    searches: int = 0

    async def look(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for query in (SearchQuery(sort="oldest"), EVERY_WORD):
                found = await self.all_of(query)
                missing = self.seen.keys() - found.keys()
                assert not missing, f"{len(missing)} messages were found before, and are not now"
                older = {id_ for id_, version in self.seen.items() if found[id_] < version}
                assert not older, f"{len(older)} messages are older than they were"
                self.seen = found

    async def has_seen(self, index: str | None) -> bool:
        return index in self.indices

    async def all_of(self, query: SearchQuery) -> dict[str, int]:
        """Follow the cursors to the end: an index that is swapped away meanwhile keeps its points in time.

        The rebuild after the next one drops it: whoever is still paging then begins anew, as clients do.
        """
        found: dict[str, int] = {}
        cursor: str | None = None
        while True:
            try:
                page = await self.search.search(query, Rights(), 100, cursor)
            except CursorExpired:
                found, cursor = {}, None
                continue
            self.searches += 1
            found |= {hit.id: hit.source.version for hit in page.hits}
            self.indices |= {hit.index for hit in page.hits}
            cursor = page.cursor
            if cursor is None:
                return found


async def index(platform: Platform, stop: asyncio.Event) -> None:
    indexer = Indexer(platform.eventlog, platform.search, Health("eventlog", "search"))
    try:
        await indexer.run(stop)
    finally:
        await indexer.close()


async def test_nobody_notices(platform: Platform, settings: Settings) -> None:
    """Given two rebuilds, a rollback and a third rebuild, no search fails and none misses what was found.

    Afterwards the index holds what was told, and the indexer goes on.
    """
    stop_writing, stop = asyncio.Event(), asyncio.Event()
    writer = Writer(platform)
    held: list[float] = []
    beside: list[tuple[bool, bool]] = []
    async with (
        open_ports(settings) as indexing,
        open_ports(settings) as searching,
        asyncio.TaskGroup() as tasks,
    ):
        searcher = Searcher(searching.search)
        tasks.create_task(index(Platform(indexing.eventlog, indexing.search), stop))
        writing = tasks.create_task(writer.write(stop_writing))
        looking = tasks.create_task(searcher.look(stop))
        for rollback in (False, False, True, False):
            before = len(writer.versions), searcher.searches
            report = await rebuild(platform, rollback=rollback)
            assert report.outcome == "swapped", report.reason
            assert report.held_s is not None
            held.append(report.held_s)
            beside.append((len(writer.versions) > before[0], searcher.searches > before[1]))
            await until(partial(searcher.has_seen, report.index))
        stop_writing.set()
        await writing
        stop.set()
        await looking
    await platform.index_everything()
    documents = await platform.documents()
    assert {id_: document.version for id_, document in documents.items()} == writer.versions
    assert max(held) < 8
    # One that takes milliseconds may be over before anybody else had a turn, but not each of them.
    assert any(wrote and searched for wrote, searched in beside)
    print(f"{searcher.searches} searches, {len(writer.versions)} messages, writes held {held} s")
