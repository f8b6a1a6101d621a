"""Search indices of a test's own: several over one store, closed at the end and dropped on Elasticsearch."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from elasticsearch import AsyncElasticsearch

from backbone.search import IndexedDocument, Rights, SearchIndex, SearchPage, SearchQuery
from backbone.settings import Settings
from backbone.wiring import open_search
from schemas.clock import format_ms
from schemas.documents import SearchDocument

MOMENT_MS = 1_760_000_000_000
NOBODY = Rights()


class SearchSite:
    """One store; each `open` is an index port of its own on it, as another process would have."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opened: list[SearchIndex] = []

    @property
    def embedded(self) -> bool:
        return self.settings.search_url.startswith("embedded:")

    def open(self) -> SearchIndex:
        """Return another port on the store, closed at the end of the test."""
        search = open_search(self.settings)
        self._opened.append(search)
        return search

    async def close(self) -> None:
        for search in self._opened:
            await search.close()


@asynccontextmanager
async def search_site(settings: Settings) -> AsyncIterator[SearchSite]:
    """Give a store of the settings, and clean it up at the end of the block."""
    site = SearchSite(settings)
    async with dropped_indices(settings):
        try:
            yield site
        finally:
            await site.close()


@asynccontextmanager
async def dropped_indices(settings: Settings) -> AsyncIterator[None]:
    """Drop the indices under the settings' alias at the end of the block, where they are on a server."""
    try:
        yield
    finally:
        if settings.search_url.startswith("http"):
            async with AsyncElasticsearch(settings.search_url) as client:
                names = await client.indices.get(index=f"{settings.search_alias}-*", features="settings")
                for name in names.body:
                    await client.indices.delete(index=name)


def document(number: int, content: str = "안녕하세요", **fields: Any) -> IndexedDocument:
    """Return the document of the message `msg_<number>`, created `number` seconds after the moment."""
    created_at = format_ms(MOMENT_MS + number * 1000)
    values = {
        "author": "kim",
        "channel": "general",
        "created_at": created_at,
        "updated_at": created_at,
        "sequence": number + 1,
        "version": number + 1,
        **fields,
    }
    return IndexedDocument(f"msg_{number}", SearchDocument(content=content, **values))


def tombstone(number: int, version: int, **fields: Any) -> IndexedDocument:
    """Return the document of a deleted message."""
    return document(number, "", created_at=None, version=version, deleted=True, **fields)


async def stored(search: SearchIndex, *documents: IndexedDocument) -> None:
    """Put documents that must all be taken, and make them visible."""
    assert await search.put(documents) == []
    await search.refresh()


async def ids(search: SearchIndex, query: SearchQuery, rights: Rights = NOBODY) -> set[str]:
    """Return the ids of all hits of a query."""
    return {hit.id for hit in (await search.search(query, rights, 100)).hits}


async def all_pages(
    search: SearchIndex, query: SearchQuery, limit: int, rights: Rights = NOBODY
) -> list[SearchPage]:
    """Return every page of a query, following the cursors."""
    pages = [await search.search(query, rights, limit)]
    while (cursor := pages[-1].cursor) is not None:
        pages.append(await search.search(query, rights, limit, cursor))
    return pages


def ids_of(pages: Sequence[SearchPage]) -> list[str]:
    """Return the ids of the hits of pages, in order."""
    return [hit.id for page in pages for hit in page.hits]
