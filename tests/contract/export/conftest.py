"""A backend whose channels are exported, on the files and on the servers."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, make_topics, running_backend
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.write_side import Users


@pytest.fixture(params=ADAPTERS)
async def settings(request: pytest.FixtureRequest, unique: str, tmp_path: Path) -> AsyncIterator[Settings]:
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    archive = replace(chosen.archive, url=f"file://{tmp_path / 'archive'}", chosen=True)
    fast = replace(chosen, write_rate=100_000, write_burst=100_000, archive=archive)
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
    await users.act(150)
    await users.tell()
    return users
