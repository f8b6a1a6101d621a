"""Points in time: what the pages of one search look at, kept by the server for two minutes after each.

Guarantees: a point that nobody was told of is given back; should that fail, the server forgets it.
"""

import asyncio

import structlog

from backbone.errors import Unavailable
from backbone.search import CursorExpired
from backbone.search.elasticsearch.indices import Ask

POINT_IN_TIME_KEPT = "2m"

log = structlog.get_logger()


class Points:
    """The points in time of one alias; `ask` talks to the server."""

    def __init__(self, alias: str, ask: Ask) -> None:
        self._alias = alias
        self._ask = ask
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, index: str | None = None) -> str:
        """Return the id of a point in time of an index, or of what is behind the alias now."""
        path = f"/{index or self._alias}/_pit?keep_alive={POINT_IN_TIME_KEPT}"
        return str((await self._ask("POST", path, None))["id"])

    async def close(self, point: str) -> None:
        """Give a point in time back early."""
        try:
            await self._ask("DELETE", "/_pit", {"id": point})
        except (Unavailable, CursorExpired) as error:
            log.debug("search_point_in_time_left", error=str(error))

    def close_soon(self, point: str) -> None:
        """Give a point in time back without letting anybody wait for it."""
        task = asyncio.create_task(self.close(point))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def settle(self) -> None:
        """Wait until what is given back is given back."""
        await asyncio.gather(*self._closing)
