"""Stores of a measurement's own, of the same kind as the operator's, whose data it never touches.

Guarantees: what is made here is gone after the block, on an error and on Ctrl-C as well.
"""

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from backbone.database.migrations import migrate
from backbone.database.scratch import scratch_database
from backbone.settings import Settings, read_settings
from backbone.wiring import open_database, open_eventlog
from schemas.topics import ALL_TOPICS


@asynccontextmanager
async def scratch_stores(settings: Settings) -> AsyncIterator[Settings]:
    """Yield settings for empty stores on the same servers, or in a temporary folder where there is none.

    Tables and topics are made; a search index is not. Raises SetupError or Unavailable.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="maeari-bench-"))
        files = read_settings({"MAEARI_DATA": folder}, dotenv=None)
        name = f"maeari-bench-{secrets.token_hex(6)}"
        scratch = replace(settings, data=Path(folder), topic_prefix=name, search_alias=name)
        if settings.search_url.startswith("embedded:"):
            scratch = replace(scratch, search_url=files.search_url)
        if settings.eventlog_url.startswith("embedded:"):
            scratch = replace(scratch, eventlog_url=files.eventlog_url)
        else:
            stack.push_async_callback(_drop_topics, scratch)
        if settings.database_url.startswith("sqlite"):
            scratch = replace(scratch, database_url=files.database_url)
        else:
            own = await stack.enter_async_context(scratch_database(settings.database_url, "maeari_bench"))
            scratch = replace(scratch, database_url=own)
        await _prepare(scratch)
        yield scratch


async def _prepare(settings: Settings) -> None:
    database, eventlog = open_database(settings), open_eventlog(settings)
    try:
        await migrate(database)
        await eventlog.apply_topics(ALL_TOPICS, settings.partitions)
    finally:
        await eventlog.close()
        await database.close()


async def _drop_topics(settings: Settings) -> None:
    eventlog = open_eventlog(settings)
    try:
        await eventlog.drop_topics()
    finally:
        await eventlog.close()
