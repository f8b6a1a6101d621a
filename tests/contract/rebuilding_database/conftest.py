"""A backend to lose and to rebuild, on the files and on the servers."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from backbone.progress import Silent
from backbone.settings import Settings
from rebuilder.database.rebuild import Rebuild
from rebuilder.database.report import DatabaseReport
from rebuilder.database.side import open_side
from rebuilder.database.sources import EventsSource, StateSource
from rebuilder.database.ways import Ways
from rebuilder.readers import Log
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, make_topics, running_backend
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.write_side import Users


@pytest.fixture(params=ADAPTERS)
async def settings(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Settings]:
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    fast = replace(chosen, write_rate=100_000, write_burst=100_000)
    async with own_database(fast, unique) as own, dropped_topics(own):
        yield own


@pytest.fixture
async def backend(settings: Settings) -> AsyncIterator[Backend]:
    async with running_backend(settings) as backend:
        await make_topics(backend, settings)
        yield backend


@pytest.fixture
async def users(backend: Backend, request: pytest.FixtureRequest) -> Users:
    """Users with a past, all of it told to the log."""
    users = Users(backend, random.Random(request.node.name))
    await users.begin()
    await users.act(120)
    await users.tell()
    return users


async def rebuild(backend: Backend, ways: Ways | None = None, log: Log | None = None) -> DatabaseReport:
    """Rebuild the backend's database, out of another log where there is one."""
    chosen, ports = ways or Ways(), backend.ports
    async with open_side(ports.database, chosen.into) as side:
        source = (StateSource if chosen.source == "state" else EventsSource)(log or ports.eventlog)
        work = Rebuild(ports.database, side, source, chosen, Silent())
        return await work.run()
