"""The backend that the suites of the API ask, over each set of stores."""

from collections.abc import AsyncIterator

import pytest

from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, running_backend
from tests.support.database import own_database


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Settings]:
    """Settings for an empty database of the test's own."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own:
        yield own


@pytest.fixture
async def backend(stores: Settings) -> AsyncIterator[Backend]:
    """A running API without authentication."""
    async with running_backend(stores) as running:
        yield running
