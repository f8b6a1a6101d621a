"""The whole product as its users run it: one process on files, one for each room on real servers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from backbone.settings import Settings
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.search import dropped_indices
from tests.system.processes import Surroundings


@asynccontextmanager
async def own_stores(real: Settings, name: str) -> AsyncIterator[dict[str, str]]:
    """Give the settings of stores on the real servers that are the test's own, and clean them up."""
    async with own_database(real, name) as own, dropped_topics(own), dropped_indices(own):
        yield {
            "DATABASE_URL": own.database_url,
            "EVENTLOG_URL": own.eventlog_url,
            "SEARCH_URL": own.search_url,
            "TOPIC_PREFIX": own.topic_prefix,
            "SEARCH_ALIAS": own.search_alias,
        }


@asynccontextmanager
async def system(surroundings: Surroundings) -> AsyncIterator[None]:
    """Run the product: `maeari dev` on files, else each process by itself, set up by the commands."""
    ports = surroundings.ports
    async with AsyncExitStack() as stack:
        if "DATABASE_URL" not in surroundings.settings:
            await stack.enter_async_context(surroundings.running("dev", probe=ports.api))
        else:
            await surroundings.run("migrate")
            await surroundings.run("topics", "apply")
            for name, probe in (("indexer", ports.indexer), ("notifier", ports.notifier)):
                running = surroundings.running(name, probe=probe, METRICS_PORT=str(probe))
                await stack.enter_async_context(running)
            await stack.enter_async_context(surroundings.running("backend", probe=ports.api))
        yield
