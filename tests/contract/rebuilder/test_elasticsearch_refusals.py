"""What an Elasticsearch itself may refuse in a rebuild: the alias stays, and the report says why."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from elasticsearch import AsyncElasticsearch

from backbone.settings import Settings
from rebuilder import patience
from rebuilder.search.report import Report
from tests.support.histories import Platform, history
from tests.support.rebuilding import Meddling, rebuild


@pytest.fixture
def settings(real_settings: Settings) -> Settings:
    return real_settings


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(settings.search_url) as server:
        yield server


async def refused(platform: Platform, before_put: Callable[[], Awaitable[None]]) -> Report:
    """Rebuild with something done to the new index first; the alias must stay and nothing be missing."""
    made = history(31, messages=40)
    await platform.tell(made.events)
    await platform.index_everything()
    before = await platform.search.current()
    report = await rebuild(platform, search=Meddling(platform.search, before_put=before_put))
    assert (report.outcome, report.exit_code) == ("refused", 1)
    assert await platform.search.indices() == [before]
    assert await platform.documents() == made.expected
    return report


async def test_an_index_that_turned_read_only(
    platform: Platform, server: AsyncElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a new index that takes no writes, as on a disk that ran full."""
    monkeypatch.setattr(patience, "PATIENCE_S", 0.3)

    async def turn_read_only() -> None:
        new = (await platform.search.indices())[-1]
        await server.indices.put_settings(index=new, settings={"index.blocks.read_only_allow_delete": True})

    report = await refused(platform, turn_read_only)
    assert "read-only-allow-delete" in report.problems[0].reason
    assert report.reason is not None
    assert f"did not take: {report.counts.problems}" in report.reason


async def test_documents_that_the_mapping_refuses(platform: Platform, server: AsyncElasticsearch) -> None:
    """Given a server that answers each document with 400, all are counted and the first ones named."""
    done = False

    async def spoil_the_mapping() -> None:
        nonlocal done
        if done:
            return
        done = True
        new = (await platform.search.indices())[-1]
        await server.indices.delete(index=new)
        await server.indices.create(index=new, mappings={"properties": {"content": {"type": "integer"}}})

    report = await refused(platform, spoil_the_mapping)
    assert report.counts.problems >= 20
    assert report.reason == f"records that cannot be read or applied: {report.counts.problems}"
    assert "content" in report.problems[0].reason
    assert len(report.problems) == 20


async def test_an_operators_block_on_the_live_index(platform: Platform, server: AsyncElasticsearch) -> None:
    """Given a block that is not ours, no swap is begun over it, and it is not lifted."""
    made = history(32, messages=5)
    await platform.tell(made.events)
    await platform.index_everything()
    live = await platform.search.current()
    assert live is not None
    await server.indices.add_block(index=live, block="write")
    report = await rebuild(platform)
    assert report.outcome == "refused"
    assert report.reason is not None
    assert f"a block on the writes to {live}" in report.reason
    settings = (await server.indices.get_settings(index=live)).body[live]["settings"]
    assert settings["index"]["blocks"]["write"] == "true"
    assert await platform.search.indices() == [live]
