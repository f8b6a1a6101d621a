"""Searches on Elasticsearch, page by page: by time, or by relevance at a point in time.

Guarantees: every page is filtered with the rights given for it; hits by relevance keep their order while
documents come and go, for two minutes after the last page; what a query costs the server is bounded.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from backbone.errors import Unavailable
from backbone.search import (
    DEPENDENCY,
    CursorExpired,
    CursorInvalid,
    Rights,
    SearchPage,
    SearchQuery,
    Witness,
)
from backbone.search.cursors import AfterHit, Number, seal, unseal
from backbone.search.elasticsearch.answers import LOOKED_FOR_S, NOTHING, Absent, NotUnderstood, page
from backbone.search.elasticsearch.indices import Ask
from backbone.search.elasticsearch.marking import Clause, marked, marks, marks_of, unmarked
from backbone.search.elasticsearch.points import POINT_IN_TIME_KEPT, Points
from backbone.search.elasticsearch.query import BY_RELEVANCE, BY_TIME, bool_query
from backbone.search.elasticsearch.witness import witness_aggregation, witnessed

SCAN_PAGE = 1_000
_MARKED_WITHIN_S = 3.0

log = structlog.get_logger()


class AfterScore(msgspec.Struct, frozen=True, array_like=True):
    """A place in hits sorted by relevance: the point in time, and the sort values of the last hit."""

    point_in_time: str
    values: tuple[float, Number, Number]


class Searches:
    """The searches by one alias; `ask` talks to the server."""

    def __init__(self, alias: str, ask: Ask) -> None:
        self._alias = alias
        self._ask = ask
        self._points = Points(alias, ask)

    async def page(
        self, query: SearchQuery, rights: Rights, limit: int, cursor: str | None, witness: Witness | None
    ) -> SearchPage:
        """See SearchIndex.search."""
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
        found = page(
            answer,
            limit,
            lambda last: seal(query, msgspec.convert(last, AfterHit)),
            first=cursor is None,
        )
        return replace(found, witnessed=witnessed(answer, witness))

    async def everything(self, index: str | None) -> AsyncIterator[dict[str, Any]]:
        """Yield every document of an index at one point in time, deleted ones too, as hits in no order."""
        point = await self._points.open(index)
        body: Clause = {
            "query": {"match_all": {}},
            "sort": [{"_shard_doc": "asc"}],
            "size": SCAN_PAGE,
            "version": True,
            "track_total_hits": False,
        }
        try:
            while True:
                answer = await self._search(body, point)
                point = answer["pit_id"]
                hits = answer["hits"]["hits"]
                for hit in hits:
                    yield hit
                if len(hits) < SCAN_PAGE:
                    return
                body["search_after"] = hits[-1]["sort"]
        finally:
            await self._points.close(point)

    async def settle(self) -> None:
        """Wait for what was left to be done without anybody waiting."""
        await self._points.settle()

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
        """Search at a point in time: a new one is cheaper than a search, which it would else take twice."""
        if place is None:
            return await self._first_page(query, clause, limit, witness)
        values = list(place.values)
        try:
            answer = await self._hits(
                clause, BY_RELEVANCE, limit + 1, values, place.point_in_time, witness=witness
            )
        except (Absent, CursorExpired) as error:
            raise CursorExpired("the point in time of the cursor is gone") from error
        except NotUnderstood as error:
            raise CursorInvalid("the cursor holds no point in time of this server") from error
        # A later page's point stays, for its cursor may be sent again.
        return self._page_of(query, answer, limit, witness, first=False)

    async def _first_page(
        self, query: SearchQuery, clause: Clause, limit: int, witness: Witness | None
    ) -> SearchPage:
        async with self._points.sharing() as point:
            try:
                answer = await self._hits(clause, BY_RELEVANCE, limit + 1, None, point.id, witness=witness)
            except (Absent, CursorExpired) as error:
                raise Unavailable(DEPENDENCY, "the index was dropped during the search") from error
            found = self._page_of(query, answer, limit, witness, first=True)
            point.told = point.told or found.cursor is not None
            return found

    @staticmethod
    def _page_of(
        query: SearchQuery, answer: Any, limit: int, witness: Witness | None, *, first: bool
    ) -> SearchPage:
        point = answer["pit_id"]
        found = page(
            answer,
            limit,
            lambda last: seal(query, msgspec.convert((point, last), AfterScore)),
            first=first,
        )
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
    ) -> Any:
        """Search once, mark what was found."""
        body: Clause = {
            "query": clause,
            "sort": sort,
            "size": size,
            "track_total_hits": True,
            "timeout": f"{LOOKED_FOR_S * 1000:.0f}ms",
        }
        words = clause.get("bool", {}).get("must")
        if words:
            body["highlight"] = marks(words)
        if witness is not None:
            body["aggs"] = witness_aggregation(witness)
        if after is not None:
            body["search_after"] = after
        answer = await self._search(body, point)
        if words and (ids := unmarked(answer["hits"]["hits"])):
            await self._mark(words, ids, answer, point)
        return answer

    async def _mark(self, words: list[Clause], ids: list[str], answer: Any, point: str | None) -> None:
        """Mark the hits whose words stand far behind; should that take too long, they stay as they are."""
        try:
            async with asyncio.timeout(_MARKED_WITHIN_S):
                found = await self._search(marks_of(words, ids), point)
        except (Unavailable, TimeoutError) as error:
            log.info("search_hits_left_unmarked", hits=len(ids), reason=str(error) or "it took too long")
        else:
            marked(answer["hits"]["hits"], found["hits"]["hits"])

    async def _search(self, body: Clause, point: str | None) -> Any:
        if point is None:
            path = f"/{self._alias}/_search"
        else:
            path = "/_search"
            body["pit"] = {"id": point, "keep_alive": POINT_IN_TIME_KEPT}
        return await self._ask("POST", f"{path}?allow_partial_search_results=false", body)
