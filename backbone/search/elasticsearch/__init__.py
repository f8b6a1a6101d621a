"""The search index on Elasticsearch: versioned indices behind an alias, written with external versions.

Guarantees: an older version never replaces a newer one, in whatever order and however often they
come; every call ends in bounded time, and is sent once. Connects on first use.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

import msgspec

from backbone.search import (
    ItemFailure,
    Rights,
    SearchPage,
    SearchQuery,
    Tombstone,
    Witness,
)
from backbone.search.admission import admitted
from backbone.search.elasticsearch.answers import Absent
from backbone.search.elasticsearch.connection import Connection
from backbone.search.elasticsearch.indices import VersionedIndices
from backbone.search.elasticsearch.purging import deleted_before, removal, removed
from backbone.search.elasticsearch.searching import Searches
from backbone.search.elasticsearch.swapping import ElasticsearchSwap, Swaps
from backbone.search.elasticsearch.writing import BulkWriter
from backbone.settings import SearchSecurity
from schemas.documents import IndexedDocument, SearchDocument

REQUEST_TIMEOUT_S = 10.0
BULK_TIMEOUT_S = 30.0
_JSON = {"accept": "application/json", "content-type": "application/json"}
_NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}


class ElasticsearchIndex:
    """The indices of one alias on one Elasticsearch."""

    def __init__(self, url: str, alias: str, security: SearchSecurity) -> None:
        self._alias = alias
        self._connection = Connection(url, alias, security)
        self._indices = VersionedIndices(alias, self._ask)
        self._swaps = Swaps(alias, self._indices, self._ask)
        self._searches = Searches(alias, self._ask)
        self._writer = BulkWriter(self._bulk)
        self._live_bulk = f"/{alias}/_bulk?require_alias=true"

    async def ensure(self) -> None:
        await self._indices.ensure()

    async def exists(self) -> bool:
        return bool(await self._indices.behind_alias())

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        if index is not None:
            return await self._put(documents, index)
        return await self._swaps.written(lambda: self._put(documents, None))

    async def _put(self, documents: Sequence[IndexedDocument], index: str | None) -> list[ItemFailure]:
        if index is None:
            path = self._live_bulk
        else:
            # A server may make an index that is written to, without our mapping: look first.
            await self._ask("GET", f"/{index}/_alias", None)
            path = f"/{index}/_bulk"
        fit, refused = admitted(documents)
        return refused + await self._writer.put(path, fit)

    async def search(
        self,
        query: SearchQuery,
        rights: Rights,
        limit: int,
        cursor: str | None = None,
        witness: Witness | None = None,
    ) -> SearchPage:
        return await self._searches.page(query, rights, limit, cursor, witness)

    async def visible_version(self, message_id: str) -> int | None:
        path = f"/{self._alias}/_doc/{quote(message_id, safe='')}?realtime=false&_source=false"
        try:
            found = await self._ask("GET", path, None)
        except Absent as error:
            if isinstance(error.body, Mapping) and error.body.get("found") is False:
                return None
            raise
        return int(found["_version"])

    async def refresh(self, index: str | None = None) -> None:
        await self._ask("POST", f"/{index or self._alias}/_refresh", None)

    async def current(self) -> str | None:
        names = await self._indices.behind_alias()
        return names[-1] if names else None

    async def indices(self) -> list[str]:
        return await self._indices.names()

    async def create_next(self) -> str:
        return await self._indices.create_next()

    def swapping(self, index: str) -> AbstractAsyncContextManager[ElasticsearchSwap]:
        return self._swaps.swapping(index, self.put)

    async def release_writes(self) -> None:
        await self._swaps.release()

    async def look_after_writes(self) -> None:
        if not await self._swaps.look():
            await self._swaps.require_open()

    async def previous(self) -> str | None:
        return await self._swaps.previous()

    async def drop(self, index: str) -> None:
        await self._indices.drop(index)

    async def drop_all(self) -> None:
        await self._indices.drop_all()

    async def scan(self, index: str | None = None) -> AsyncIterator[IndexedDocument]:
        async for hit in self._searches.everything(index):
            found = IndexedDocument(hit["_id"], msgspec.convert(hit["_source"], SearchDocument))
            yield found.guarded_by(hit["_version"])

    async def tombstones(self, before_ms: int, limit: int) -> list[Tombstone]:
        body = deleted_before(before_ms, limit)
        answer = await self._ask("POST", f"/{self._alias}/_search?allow_partial_search_results=false", body)
        return [Tombstone(hit["_id"], hit["_version"]) for hit in answer["hits"]["hits"]]

    async def purge(self, tombstones: Sequence[Tombstone]) -> int:
        if not tombstones:
            return 0
        body = removal(tombstones)

        async def remove() -> int:
            return removed(await self._bulk(self._live_bulk, body))

        return await self._swaps.written(remove)

    async def close(self) -> None:
        await self._searches.settle()
        await self._connection.close()

    async def _bulk(self, path: str, body: bytes) -> Any:
        return await self._connection.send("POST", path, body, _NDJSON, BULK_TIMEOUT_S)

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        # A query may name thousands of channels: the driver's own encoder takes many times as long.
        encoded = None if body is None else msgspec.json.encode(body)
        return await self._connection.send(method, path, encoded, _JSON, REQUEST_TIMEOUT_S)
