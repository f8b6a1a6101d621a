"""Rebuilding a search index whose worst moment comes when a test wants it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from backbone.errors import Unavailable
from backbone.progress import Silent
from backbone.search import DEPENDENCY, ItemFailure, SearchIndex, Swap
from rebuilder.readers import Source
from rebuilder.search.rebuild import compare_search, rebuild_search
from rebuilder.search.report import Report
from rebuilder.search.ways import Ways
from schemas.documents import IndexedDocument
from tests.support.histories import Platform

SOURCES: tuple[Source, ...] = ("both", "state", "events")


async def rebuild(
    platform: Platform, source: Source = "both", *, search: Any = None, dry_run: bool = False, **ways: Any
) -> Report:
    work = compare_search if dry_run else rebuild_search
    chosen = Ways(source=source, **ways)
    return await work(platform.eventlog, search or platform.search, chosen, Silent())


async def swapped(search: SearchIndex, index: str) -> str | None:
    """Point the alias at an index as it is; return the one that was behind it."""
    async with search.swapping(index) as swap:
        await swap.done()
    return swap.before


async def _nothing() -> None:
    pass


class Meddling:
    """A real index, with one fault, or with something happening at the worst moment."""

    def __init__(
        self,
        search: SearchIndex,
        *,
        losing: str | None = None,
        refusing: str | None = None,
        down: str | None = None,
        before_put: Callable[[], Awaitable[None]] = _nothing,
        before_hold: Callable[[], Awaitable[None]] = _nothing,
        in_hold: Callable[[], Awaitable[None]] = _nothing,
        before_move: Callable[[], Awaitable[None]] = _nothing,
        after_swap: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._search = search
        self._losing = losing
        self._refusing = refusing
        self._down = down
        self._before_put = before_put
        self._before_hold = before_hold
        self._in_hold = in_hold
        self._before_move = before_move
        self._after_swap = after_swap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._search, name)

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        await self._before_put()
        if self._down is not None:
            raise Unavailable(DEPENDENCY, self._down)
        taken = [each for each in documents if each.message_id not in (self._losing, self._refusing)]
        refused = [
            ItemFailure(each.message_id, "too strange")
            for each in documents
            if each.message_id == self._refusing
        ]
        return await self._search.put(taken, index) + refused

    @asynccontextmanager
    async def swapping(self, index: str) -> AsyncIterator["MeddlingSwap"]:
        await self._before_hold()
        async with self._search.swapping(index) as swap:
            await self._in_hold()
            yield MeddlingSwap(swap, self._before_move)
        await self._after_swap()


@dataclass(frozen=True)
class MeddlingSwap:
    """A real swap, with something happening just before the alias moves."""

    swap: Swap
    before_move: Callable[[], Awaitable[None]]

    @property
    def before(self) -> str | None:
        return self.swap.before

    async def put(self, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        return await self.swap.put(documents)

    async def done(self) -> None:
        await self.before_move()
        await self.swap.done()
