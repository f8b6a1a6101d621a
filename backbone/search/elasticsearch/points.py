"""Points in time: what the pages of one search look at, kept by the server for two minutes after each.

Guarantees: a point that nobody was told of is given back; should that fail, the server forgets it. Searches
that come together share a point, which is never older than any of them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from backbone.errors import Unavailable
from backbone.search import CursorExpired
from backbone.search.elasticsearch.indices import Ask

POINT_IN_TIME_KEPT = "2m"
# A point of its own costs a search two requests. Those who come while one is opened wait for the next,
# together, but not for a server that does not answer.
WAITED_FOR_S = 0.05

log = structlog.get_logger()


class SharedPoint:
    """A point in time in the hands of some searches; `told` once a cursor names it."""

    def __init__(self) -> None:
        self.opening: asyncio.Task[str] | None = None
        self.searches = 0
        self.told = False

    @property
    def id(self) -> str:
        """The server's name for it, once it is open."""
        assert self.opening is not None
        return self.opening.result()


class Points:
    """The points in time of one alias; `ask` talks to the server."""

    def __init__(self, alias: str, ask: Ask) -> None:
        self._alias = alias
        self._ask = ask
        self._closing: set[asyncio.Task[None]] = set()
        self._latest: asyncio.Task[str] | None = None
        self._next: SharedPoint | None = None

    async def open(self, index: str | None = None) -> str:
        """Return the id of a point in time of an index, or of what is behind the alias now."""
        path = f"/{index or self._alias}/_pit?keep_alive={POINT_IN_TIME_KEPT}"
        return str((await self._ask("POST", path, None))["id"])

    @asynccontextmanager
    async def sharing(self) -> AsyncIterator[SharedPoint]:
        """Take part in a point that is opened from now on; it is open."""
        point = self._next
        if point is None:
            point = self._next = SharedPoint()
            point.opening = asyncio.create_task(self._open_after(self._latest))
            self._latest = point.opening
        assert point.opening is not None
        point.searches += 1
        try:
            # Whoever gives up does not take the point from the others.
            await asyncio.shield(point.opening)
            yield point
        finally:
            point.searches -= 1
            if not point.searches:
                self._give_back(point)

    async def close(self, point: str) -> None:
        """Give a point in time back early."""
        try:
            await self._ask("DELETE", "/_pit", {"id": point})
        except (Unavailable, CursorExpired) as error:
            log.debug("search_point_in_time_left", error=str(error))

    async def settle(self) -> None:
        """Wait until what is given back is given back."""
        await asyncio.gather(*self._closing)

    async def _open_after(self, latest: asyncio.Task[str] | None) -> str:
        if latest is not None and not latest.done():
            await asyncio.wait((latest,), timeout=WAITED_FOR_S)
        self._next = None  # whoever comes from here on might miss what was made visible in between
        return await self.open()

    def _give_back(self, point: SharedPoint) -> None:
        """Give a point back that nobody knows, without letting anybody wait for it."""
        if point.told:
            return
        task = asyncio.create_task(self._close_once_open(point))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_once_open(self, point: SharedPoint) -> None:
        """Close it, though all may have given up before it was open; a failure was told already."""
        assert point.opening is not None
        (opening,), _ = await asyncio.wait((point.opening,))
        if not opening.cancelled() and opening.exception() is None:
            await self.close(opening.result())
