"""A rebuilder that is killed, at the worst moments and at any: nothing is missing, and indexing goes on."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from backbone.clock import SystemClock
from backbone.health import Health
from backbone.search import ItemFailure, SearchIndex
from backbone.search.elasticsearch import swapping
from backbone.settings import Settings
from backbone.wiring import open_ports
from indexer import service
from indexer.service import Indexer
from rebuilder.refusal import NothingBegun
from schemas.documents import IndexedDocument
from tests.support.histories import Platform, history
from tests.support.rebuilding import rebuild
from tests.support.waiting import until

# It says `filling` as it begins, so that one who kills it by the clock knows when.
_REBUILDS = """
import asyncio, os, signal, sys
from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder.search import target
from tests.support.histories import Platform
from tests.support.rebuilding import Meddling, rebuild

async def die():
    os.kill(os.getpid(), signal.SIGKILL)

async def begin():
    print("filling", flush=True)

async def main():
    async with open_ports(read_settings(dict(os.environ), dotenv=None)) as ports:
        moment, way = sys.argv[1:]
        meddling = {"before_put": begin} | ({moment: die} if moment else {})
        search = Meddling(ports.search, **meddling)
        await rebuild(Platform(ports.eventlog, ports.search), search=search, rollback=way == "rollback")

target.DROP_GRACE_S = 0.0
asyncio.run(main())
"""
MOMENTS = ("before_put", "before_hold", "in_hold", "before_move", "after_swap")
NEVER = ""


def variables(settings: Settings) -> Mapping[str, str]:
    ours = {
        "MAEARI_DATA": str(settings.data),
        "MAEARI_DATABASE_URL": settings.database_url,
        "MAEARI_EVENTLOG_URL": settings.eventlog_url,
        "MAEARI_SEARCH_URL": settings.search_url,
        "MAEARI_TOPIC_PREFIX": settings.topic_prefix,
        "MAEARI_SEARCH_ALIAS": settings.search_alias,
    }
    return {**{name: value for name, value in os.environ.items() if not name.startswith("MAEARI_")}, **ours}


async def rebuilder(settings: Settings, moment: str, way: str = "fresh") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _REBUILDS,
        moment,
        way,
        stdout=asyncio.subprocess.PIPE,
        env=variables(settings),
    )


@asynccontextmanager
async def live_indexer(settings: Settings) -> AsyncIterator[None]:
    """The indexer's own loop, on ports of its own, as another process would have."""
    stop = asyncio.Event()
    async with open_ports(settings) as ports, asyncio.TaskGroup() as tasks:
        indexer = Indexer(ports.eventlog, ports.search, Health("eventlog", "search"))
        running = tasks.create_task(indexer.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running
            await indexer.close()


@asynccontextmanager
async def serving_indexer(settings: Settings) -> AsyncIterator[None]:
    """All that the indexer's process does."""
    stop = asyncio.Event()
    async with open_ports(settings) as ports, asyncio.TaskGroup() as tasks:
        health = Health("eventlog", "search")
        serving = service.serve(ports.eventlog, ports.search, SystemClock(), health, stop)
        tasks.create_task(serving)
        try:
            yield
        finally:
            stop.set()


@pytest.fixture(autouse=True)
def short_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapping, "LIFTED_AFTER_S", 0.5)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_the_worst_moments(platform: Platform, settings: Settings, moment: str) -> None:
    """Given edits and posts before and after, the live index has them all without any rebuild's help.

    The next rebuild clears what was left; a rollback, killed likewise, does no harm either.
    """
    made = history(41, messages=30)
    await platform.tell(made.events)
    async with live_indexer(settings):
        for way in ("fresh", "rollback"):
            await platform.tell(made.go_on(10))
            killed = await rebuilder(settings, moment, way)
            await platform.tell(made.go_on(10))
            assert await killed.wait() == -signal.SIGKILL
            await platform.tell(made.go_on(10))
            await until(lambda: holds(platform, made.expected), within_s=30)
            last = await rebuild(platform)
            assert last.outcome == "swapped"
            assert len(await platform.search.indices()) == 2
    assert await platform.documents() == made.expected


class Counting:
    """A real index that counts what is put into it by name."""

    def __init__(self, search: SearchIndex) -> None:
        self._search = search
        self.put_documents = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._search, name)

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        self.put_documents += len(documents)
        return await self._search.put(documents, index)


@pytest.mark.parametrize("moment", ["before_hold", "in_hold", "before_move"])
async def test_it_goes_on_with_what_was_left(platform: Platform, settings: Settings, moment: str) -> None:
    """Given a rebuild that died once its index was full, the next one puts nothing but what came since."""
    made = history(47, messages=30)
    await platform.tell(made.events)
    assert (await rebuild(platform)).outcome == "swapped"
    killed = await rebuilder(settings, moment)
    assert await killed.wait() == -signal.SIGKILL
    told = len(made.events)
    await platform.tell(made.go_on(5))
    counting = Counting(platform.search)
    report = await rebuild(platform, search=counting, resume=True)
    assert (report.outcome, report.resumed) == ("swapped", True)
    assert counting.put_documents <= len(made.events) - told
    assert await platform.documents() == made.expected
    assert len(await platform.search.indices()) == 2
    with pytest.raises(NothingBegun, match="nothing to go on with"):
        await rebuild(platform, resume=True)


async def test_killed_in_a_quiet_time(
    platform: Platform, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given nobody who writes as the rebuild dies, the indexer frees the way before somebody does."""
    monkeypatch.setattr(service, "ASK_EVERY_S", 0.1)
    made = history(43, messages=10)
    await platform.tell(made.events)
    async with serving_indexer(settings):
        await until(lambda: holds(platform, made.expected), within_s=30)
        killed = await rebuilder(settings, "in_hold")
        assert await killed.wait() == -signal.SIGKILL
        await until(lambda: is_free(settings), within_s=30)
        monkeypatch.setattr(swapping, "LIFTED_AFTER_S", 3600.0)
        await platform.tell(made.go_on(5))
        await until(lambda: holds(platform, made.expected), within_s=30)


async def is_free(settings: Settings) -> bool:
    """Say whether no swap's mark is left; a file has none."""
    if not settings.search_url.startswith("http"):
        return True
    async with AsyncElasticsearch(settings.search_url) as server:
        return not (await server.indices.get_alias(name=f"{settings.search_alias}-swapping-*")).body


async def test_killed_at_any_moment(platform: Platform, settings: Settings) -> None:
    """Several times over, some hundredths of a second after it began to fill the index."""
    chance = random.Random(42)
    made = history(42, messages=30)
    await platform.tell(made.events)
    async with live_indexer(settings):
        for _ in range(6):
            killed = await rebuilder(settings, NEVER)
            assert killed.stdout is not None
            await killed.stdout.readline()
            telling = asyncio.create_task(platform.tell(made.go_on(10)))
            # A kill has no condition to wait for: it comes by the clock.
            await asyncio.wait({asyncio.create_task(killed.wait())}, timeout=chance.uniform(0.0, 0.4))
            if killed.returncode is None:
                killed.kill()
            await killed.wait()
            await telling
            await until(lambda: holds(platform, made.expected), within_s=30)
    assert (await rebuild(platform)).outcome == "swapped"
    assert len(await platform.search.indices()) == 2
    assert await platform.documents() == made.expected


async def holds(platform: Platform, expected: object) -> bool:
    return await platform.documents() == expected
