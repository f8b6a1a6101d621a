"""A store for the suite of the search port, embedded and real, and indices to compare."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from backbone.search import SearchIndex
from backbone.search.elasticsearch import indices
from backbone.search.elasticsearch.mapping import components_tried
from backbone.settings import Settings
from tests.conftest import ADAPTERS
from tests.support.search import SearchSite, search_site

QUERY_SET_TABLES = pytest.StashKey[dict[str, list[str]]]()


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


@pytest.fixture
async def embedded(embedded_settings: Settings) -> AsyncIterator[SearchIndex]:
    """A port on an embedded index."""
    async with search_site(embedded_settings) as site:
        search = site.open()
        await search.ensure()
        yield search


@pytest.fixture
async def with_nori(real_settings: Settings) -> AsyncIterator[SearchIndex]:
    """A port on an index with all that Elasticsearch has."""
    async with search_site(real_settings) as site:
        search = site.open()
        await search.ensure()
        yield search


@pytest.fixture
async def without_nori(
    real_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SearchIndex]:
    """A port on an index that was made as on a server without the plugin."""

    def tried() -> dict[Any, Any]:
        return {name: analysis for name, analysis in components_tried().items() if name != "nori"}

    alias = f"{real_settings.search_alias}-pairs"
    async with search_site(replace(real_settings, search_alias=alias)) as site:
        search = site.open()
        with monkeypatch.context() as patched:
            patched.setattr(indices, "components_tried", tried)
            await search.ensure()
        yield search


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Whatever passed: how well the published query set was answered."""
    for name, lines in config.stash.get(QUERY_SET_TABLES, {}).items():
        terminalreporter.section(f"query set: {name}")
        for line in lines:
            terminalreporter.write_line(line)
