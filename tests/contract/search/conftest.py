"""A store for the suite of the search port, embedded and real."""

from collections.abc import AsyncIterator

import pytest

from backbone.search import SearchIndex
from tests.conftest import ADAPTERS
from tests.support.search import SearchSite, search_site


@pytest.fixture(params=ADAPTERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[SearchSite]:
    """An empty store."""
    async with search_site(request.getfixturevalue(f"{request.param}_settings")) as site:
        yield site


@pytest.fixture
async def search(site: SearchSite) -> SearchIndex:
    """A port on a store with its first index."""
    search = site.open()
    await search.ensure()
    return search
