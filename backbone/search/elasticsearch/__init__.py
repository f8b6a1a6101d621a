"""The search index on Elasticsearch: versioned indices behind an alias, written with external versions.

Guarantees: an older version never replaces a newer one, in whatever order and however often they
come; every call ends in bounded time, and is sent once. Connects on first use.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec
import structlog

from backbone.errors import Unavailable
from backbone.search import (
    DEPENDENCY,
    CursorExpired,
    CursorInvalid,
    ItemFailure,
    Rights,
    SearchPage,
    SearchQuery,
    Tombstone,
    Witness,
)
from backbone.search.admission import admitted
from backbone.search.cursors import AfterHit, Number, seal, unseal
from backbone.search.elasticsearch.answers import NOTHING, Absent, NotUnderstood, page
from backbone.search.elasticsearch.bulk import WritesBlocked
from backbone.search.elasticsearch.connection import Connection
from backbone.search.elasticsearch.indices import VersionedIndices
from backbone.search.elasticsearch.purging import deleted_before, removal, removed
from backbone.search.elasticsearch.query import BY_RELEVANCE, BY_TIME, Clause, bool_query, highlight
from backbone.search.elasticsearch.swapping import ElasticsearchSwap, Swaps
from backbone.search.elasticsearch.witness import witness_aggregation, witnessed
from backbone.search.elasticsearch.writing import BulkWriter
from backbone.settings import SearchSecurity
from schemas.documents import IndexedDocument, SearchDocument

REQUEST_TIMEOUT_S = 10.0
BULK_TIMEOUT_S = 30.0
POINT_IN_TIME_KEPT = "2m"
SCAN_PAGE = 1_000
_JSON = {"accept": "application/json", "content-type": "application/json"}
_NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}

log = structlog.get_logger()


class AfterScore(msgspec.Struct, frozen=True, array_like=True):
    """A place in hits sorted by relevance: the point in time, and the sort values of the last hit."""

    point_in_time: str
    values: tuple[float, Number, Number]


class ElasticsearchIndex:
    """The indices of one alias on one Elasticsearch."""

    def __init__(self, url: str, alias: str, security: SearchSecurity) -> None:
        self._alias = alias
        self._connection = Connection(url, alias, security)
        self._indices = VersionedIndices(alias, self._ask)
        self._swaps = Swaps(alias, self._indices, self._ask)
        self._writer = BulkWriter(self._bulk)
        self._live_bulk = f"/{alias}/_bulk?require_alias=true"

    async def ensure(self) -> None:
        await self._indices.ensure()

    async def exists(self) -> bool:
        return bool(await self._indices.behind_alias())

    async def put(self, documents: Sequence[IndexedDocument], index: str | None = None) -> list[ItemFailure]:
        try:
            return await self._put(documents, index)
        except WritesBlocked as error:
            raise (await self._swaps.met(error) if index is None else error) from error

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
        clause = bool_query(query, rights)
        if query.sort == "relevance":
            place = unseal(query, cursor, AfterScore) if cursor is not None else None
            if clause is None:
                return await self._nothing(witness)
            return await self._by_relevance(query, clause, limit, place, witness)
        after = unseal(query, cursor, AfterHit) if cursor is not None else None
        if clause is None:
            return await self._nothing(witness)
        values = None if after is None else [after.created_at_ms, after.channel, after.sequence]
        answer = await self._hits(clause, BY_TIME[query.sort], limit + 1, values, witness=witness)
        found = page(answer, limit, lambda last: seal(query, msgspec.convert(last, AfterHit)))
        return replace(found, witnessed=witnessed(answer, witness))

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

    async def previous(self) -> str | None:
        return await self._swaps.previous()

    async def drop(self, index: str) -> None:
        await self._indices.drop(index)

    async def drop_all(self) -> None:
        await self._indices.drop_all()

    async def scan(self, index: str | None = None) -> AsyncIterator[IndexedDocument]:
        point = await self._open_point(index)
        order: list[Clause] = [{"_shard_doc": "asc"}]
        values: list[Any] | None = None
        try:
            while True:
                answer = await self._hits(
                    {"match_all": {}}, order, SCAN_PAGE, values, point, documents_only=True
                )
                point = answer["pit_id"]
                hits = answer["hits"]["hits"]
                for hit in hits:
                    yield IndexedDocument(hit["_id"], msgspec.convert(hit["_source"], SearchDocument))
                if len(hits) < SCAN_PAGE:
                    return
                values = hits[-1]["sort"]
        finally:
            await self._close_point(point)

    async def tombstones(self, before_ms: int, limit: int) -> list[Tombstone]:
        body = deleted_before(before_ms, limit)
        answer = await self._ask("POST", f"/{self._alias}/_search?allow_partial_search_results=false", body)
        return [Tombstone(hit["_id"], hit["_version"]) for hit in answer["hits"]["hits"]]

    async def purge(self, tombstones: Sequence[Tombstone]) -> int:
        if not tombstones:
            return 0
        try:
            return removed(await self._bulk(self._live_bulk, removal(tombstones)))
        except WritesBlocked as error:
            raise await self._swaps.met(error) from error

    async def close(self) -> None:
        await self._connection.close()

    async def _nothing(self, witness: Witness | None) -> SearchPage:
        """Answer a query that nothing can fulfil; what the index holds is asked all the same."""
        if witness is None:
            return NOTHING
        answer = await self._hits({"match_none": {}}, BY_RELEVANCE, 0, witness=witness)
        return replace(NOTHING, witnessed=witnessed(answer, witness))

    async def _by_relevance(
        self,
        query: SearchQuery,
        clause: Clause,
        limit: int,
        place: AfterScore | None,
        witness: Witness | None,
    ) -> SearchPage:
        """Most searches have one page: a point in time is opened only where there is another."""
        values: list[Any] | None = None
        if place is None:
            answer = await self._hits(clause, BY_RELEVANCE, limit + 1, witness=witness)
            if len(answer["hits"]["hits"]) <= limit:
                return replace(page(answer, limit, lambda _: ""), witnessed=witnessed(answer, witness))
            point = await self._open_point(None)
        else:
            point, values = place.point_in_time, list(place.values)
        try:
            answer = await self._hits(clause, BY_RELEVANCE, limit + 1, values, point, witness=witness)
        except (Absent, CursorExpired) as error:
            if place is None:
                raise Unavailable(DEPENDENCY, "the index was dropped during the search") from error
            raise CursorExpired("the point in time of the cursor is gone") from error
        except NotUnderstood as error:
            raise CursorInvalid("the cursor holds no point in time of this server") from error
        point = answer["pit_id"]
        found = page(answer, limit, lambda last: seal(query, msgspec.convert((point, last), AfterScore)))
        if found.cursor is None and place is None:
            # Nobody knows it. A later page's point stays, for its cursor may be sent again.
            await self._close_point(point)
        return replace(found, witnessed=witnessed(answer, witness))

    async def _hits(
        self,
        clause: Clause,
        sort: list[Clause],
        size: int,
        after: list[Any] | None = None,
        point: str | None = None,
        *,
        witness: Witness | None = None,
        documents_only: bool = False,
    ) -> Any:
        """Search once; `documents_only` leaves out highlights and the count."""
        body: Clause = {"query": clause, "sort": sort, "size": size, "track_total_hits": not documents_only}
        if not documents_only and (words := clause.get("bool", {}).get("must")):
            body["highlight"] = highlight(words)
        if witness is not None:
            body["aggs"] = witness_aggregation(witness)
        if after is not None:
            body["search_after"] = after
        if point is None:
            path = f"/{self._alias}/_search"
        else:
            path = "/_search"
            body["pit"] = {"id": point, "keep_alive": POINT_IN_TIME_KEPT}
        return await self._ask("POST", f"{path}?allow_partial_search_results=false", body)

    async def _open_point(self, index: str | None) -> str:
        answer = await self._ask(
            "POST", f"/{index or self._alias}/_pit?keep_alive={POINT_IN_TIME_KEPT}", None
        )
        return str(answer["id"])

    async def _close_point(self, point: str) -> None:
        """Give a point in time back early; should that fail, the server forgets it in two minutes."""
        try:
            await self._ask("DELETE", "/_pit", {"id": point})
        except (Unavailable, CursorExpired) as error:
            log.debug("search_point_in_time_left", error=str(error))

    async def _bulk(self, path: str, body: bytes) -> Any:
        return await self._connection.send("POST", path, body, _NDJSON, BULK_TIMEOUT_S)

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        # A query may name thousands of channels: the driver's own encoder takes many times as long.
        encoded = None if body is None else msgspec.json.encode(body)
        return await self._connection.send(method, path, encoded, _JSON, REQUEST_TIMEOUT_S)
