"""What the suites of the search route share: a backend whose index is in the test's hand."""

from collections.abc import AsyncIterator

import pytest

from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.searching import SearchableBackend, searchable_backend


@pytest.fixture(params=ADAPTERS)
async def searchable(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[SearchableBackend]:
    """A backend whose topics and index exist and are empty."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with searchable_backend(settings, unique) as searchable:
        yield searchable
