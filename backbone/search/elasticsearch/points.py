"""Points in time: what the pages of one search look at, kept by the server for two minutes after each.

Guarantees: a point that nobody was told of is given back; should that fail, the server forgets it. Searches
that come within SHARED_S of one another share a point, which is no older than that.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from backbone.errors import Unavailable
from backbone.search import CursorExpired
from backbone.search.elasticsearch.indices import Ask

POINT_IN_TIME_KEPT = "2m"
# Far less than the second that a write takes to be found: a point of its own costs a search two requests.
SHARED_S = 0.05

log = structlog.get_logger()


@dataclass(eq=False)
class SharedPoint:
    """A point in time in the hands of some searches; `told` once a cursor names it."""

    opening: asyncio.Task[str]
    asked_s: float
    searches: int = 0
    told: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the server has given it."""
        return self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None

    @property
    def id(self) -> str:
        """The server's name for it, once it is open."""
        return self.opening.result()


class Points:
    """The points in time of one alias; `ask` talks to the server."""

    def __init__(self, alias: str, ask: Ask) -> None:
        self._alias = alias
        self._ask = ask
        self._closing: set[asyncio.Task[None]] = set()
        self._latest: SharedPoint | None = None

    async def open(self, index: str | None = None) -> str:
        """Return the id of a point in time of an index, or of what is behind the alias now."""
        path = f"/{index or self._alias}/_pit?keep_alive={POINT_IN_TIME_KEPT}"
        return str((await self._ask("POST", path, None))["id"])

    @asynccontextmanager
    async def sharing(self, *, fresh: bool) -> AsyncIterator[SharedPoint]:
        """Take part in a point of this moment, in a `fresh` one of what is there now; it is open."""
        now_s = asyncio.get_running_loop().time()
        point = self._latest
        if fresh or point is None or now_s - point.asked_s > SHARED_S:
            point = self._latest = SharedPoint(asyncio.create_task(self.open()), now_s)
        point.searches += 1
        try:
            # Whoever gives up does not take the point from the others.
            await asyncio.shield(point.opening)
            yield point
        finally:
            if point.opening.done() and not point.is_open and point is self._latest:
                self._latest = None
            point.searches -= 1
            if not point.searches:
                asyncio.get_running_loop().call_later(SHARED_S, self._give_back, point)

    def forget_latest(self) -> None:
        """Share no point that is open already: what is there has changed."""
        self._latest = None

    async def close(self, point: str) -> None:
        """Give a point in time back early."""
        try:
            await self._ask("DELETE", "/_pit", {"id": point})
        except (Unavailable, CursorExpired) as error:
            log.debug("search_point_in_time_left", error=str(error))

    async def settle(self) -> None:
        """Wait until what is given back is given back."""
        if self._latest is not None:
            self._give_back(self._latest)
        await asyncio.gather(*self._closing)

    def _give_back(self, point: SharedPoint) -> None:
        """Give a point back that nobody uses, nor knows, without letting anybody wait for it."""
        if point.searches or point.told or not point.is_open:
            return
        point.told = True  # to nobody, but it is given back once
        if point is self._latest:
            self._latest = None
        task = asyncio.create_task(self.close(point.id))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
