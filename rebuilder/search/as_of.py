"""The search index of a moment: built beside the live one, proven like it, under an alias of its own.

Guarantees: the live alias and its indices are left alone, and rebuilds of them leave this one alone. It holds
what `as_of` shows: the events up to that very millisecond. Asked for again it is made anew, and the
one before is there until then. What the log has yet to be told of that time is waited for, or it is refused.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from backbone.errors import SetupError
from backbone.progress import Progress
from backbone.search import SearchIndex
from backbone.settings import Settings
from backbone.wiring import Ports, open_search
from rebuilder.patience import patiently
from rebuilder.readers import Log, Source
from rebuilder.record import messages_told
from rebuilder.search.rebuild import rebuild_search
from rebuilder.search.report import Report
from rebuilder.search.ways import Ways
from rebuilder.sole import as_the_only_one
from rebuilder.untold import all_told

LOCK = "rebuild search --as-of"


def source_of(source: Source) -> Source:
    """Return what a moment is made of. Raises SetupError for states, which have no past."""
    match source:
        case "events" | "both":
            return "events"
        case "archive":
            return "archive"
        case _:
            raise SetupError(f"--as-of with --from {source}: only events tell of the past; events, archive")


def alias_of(alias: str, until_ms: int) -> str:
    """Return the alias of a moment, beside that of the live index."""
    moment = datetime.fromtimestamp(until_ms // 1000, UTC)
    return f"{alias}-as-of-{moment:%Y%m%dt%H%M%S}{until_ms % 1000:03d}z"


def index_of(settings: Settings, until_ms: int) -> SearchIndex:
    """Open the indices of a moment."""
    return open_search(replace(settings, search_alias=alias_of(settings.search_alias, until_ms)))


async def rebuild_as_of(settings: Settings, ports: Ports, log: Log, ways: Ways, progress: Progress) -> Report:
    """Build the index of `ways.until_ms`. Raises Untold, AlreadyRunning, Unavailable or SetupError."""
    until_ms = ways.until_ms or 0
    search = index_of(settings, until_ms)

    async def build() -> Report:
        await all_told(ports.database, until_ms)
        told = await messages_told(ports.database, ways.source, until_ms)
        return await rebuild_search(log, search, replace(ways, drop=True, told=told), progress)

    try:
        return await as_the_only_one(ports.database, LOCK, build)
    finally:
        await search.close()


async def drop_as_of(settings: Settings, ports: Ports, until_ms: int) -> Sequence[str]:
    """Drop the index of a moment, and what an unfinished rebuild of it left; return what there was.

    Raises AlreadyRunning or Unavailable.
    """
    search = index_of(settings, until_ms)

    async def drop() -> list[str]:
        there = await patiently(search.indices)
        await patiently(search.drop_all)
        return there

    try:
        return await as_the_only_one(ports.database, LOCK, drop)
    finally:
        await search.close()
