"""The backend that the suites of the API ask, over each set of stores."""

from collections.abc import AsyncIterator

import pytest

from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, running_backend
from tests.support.database import own_database
from tests.support.searching import SearchableBackend, searchable_backend


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


@pytest.fixture(params=ADAPTERS)
async def searchable(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[SearchableBackend]:
    """A backend whose topics and index exist and are empty; the index is in the test's hand."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with searchable_backend(settings, unique) as searchable:
        yield searchable
