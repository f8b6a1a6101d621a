"""A store for the suite of the event log port, on the file and on Kafka."""

from collections.abc import AsyncIterator

import pytest

from backbone.eventlog import EventLog
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE
from tests.conftest import ADAPTERS
from tests.support.eventlog import LogSite, log_site


@pytest.fixture(params=ADAPTERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[LogSite]:
    """An empty store."""
    async with log_site(request.getfixturevalue(f"{request.param}_settings")) as opened:
        yield opened


@pytest.fixture
async def log(site: LogSite) -> EventLog:
    """A log with two topics of three partitions."""
    opened = site.open()
    await opened.apply_topics((MESSAGES_CREATED, MESSAGES_STATE), 3)
    return opened
