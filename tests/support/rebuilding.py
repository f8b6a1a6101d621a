"""Rebuilding a search index whose worst moment comes when a test wants it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from backbone.progress import Silent
from backbone.search import ItemFailure, SearchIndex
from rebuilder.report import Report, Source
from rebuilder.search import rebuild_search
from schemas.documents import IndexedDocument
from tests.support.histories import Platform

SOURCES: tuple[Source, ...] = ("both", "state", "events")


async def rebuild(platform: Platform, source: Source = "both", **options: Any) -> Report:
    search = options.pop("search", platform.search)
    options = {"dry_run": False, "progress": Silent(), **options}
    return await rebuild_search(platform.eventlog, search, source, **options)


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
        before_put: Callable[[], Awaitable[None]] = _nothing,
        before_swap: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._search = search
        self._losing = losing
        self._refusing = refusing
        self._before_put = before_put
        self._before_swap = before_swap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._search, name)

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        await self._before_put()
        taken = [each for each in documents if each.message_id not in (self._losing, self._refusing)]
        refused = [
            ItemFailure(each.message_id, "too strange")
            for each in documents
            if each.message_id == self._refusing
        ]
        return await self._search.put(taken, index) + refused

    async def swap(self, index: str) -> str | None:
        await self._before_swap()
        return await self._search.swap(index)
