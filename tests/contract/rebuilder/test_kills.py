"""A rebuilder that is killed, at the worst moments and at any: nothing is missing, and indexing goes on."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from backbone.health import Health
from backbone.search.elasticsearch import swapping
from backbone.settings import Settings
from backbone.wiring import open_ports
from indexer.service import Indexer
from tests.support.histories import Platform, history
from tests.support.rebuilding import rebuild
from tests.support.waiting import until

# It says `filling` as it begins, so that one who kills it by the clock knows when.
_REBUILDS = """
import asyncio, os, signal, sys
from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder import target
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
