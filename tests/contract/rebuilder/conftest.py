"""A platform to rebuild, on the files and on the servers."""

from collections.abc import AsyncIterator

import pytest

from backbone.settings import Settings
from backbone.wiring import open_ports
from rebuilder.search import target
from tests.conftest import ADAPTERS
from tests.support.eventlog import dropped_topics
from tests.support.histories import Platform
from tests.support.search import dropped_indices


@pytest.fixture(params=ADAPTERS)
def settings(request: pytest.FixtureRequest) -> Settings:
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    return chosen


@pytest.fixture
async def platform(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """A log with its topics and an index with its alias, both empty."""
    monkeypatch.setattr(target, "DROP_GRACE_S", 0.0)
    async with dropped_topics(settings), dropped_indices(settings), open_ports(settings) as ports:
        platform = Platform(ports.eventlog, ports.search)
        await platform.set_up()
        yield platform
