"""The search route: parameters in, the bare array of hits out, everything else in headers."""

import re
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response, get

from backbone.database.engine import Database
from backbone.errors import Unavailable
from backbone.health import Health
from backbone.search import Hit, SearchIndex
from backend.api.identity import reader_of
from backend.queries.search import Search, find_messages

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
WAIT_DEFAULT_S = 2.0
WAIT_MAX_S = 10.0
Q_MAX_CHARACTERS = 2_000

_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")


@get("/messages/search", summary="Search messages")
async def search_messages(
    request: Request[Any, Any, Any],
    database: Database,
    index: SearchIndex,
    health: Health,
    timezone: ZoneInfo,
) -> Response[tuple[Hit, ...]]:
    """Return the hits that the searcher may see, as Elasticsearch writes them; totals and cursor in headers."""
    parameters = request.query_params
    search = Search(
        query=_query(request, timezone),
        searcher_id=reader_of(request),
        limit=_limit(parameters.get("limit")),
        cursor=parameters.get("cursor") or None,
        token=_token(request),
        wait_s=_wait_s(request),
    )
    try:
        found = await find_messages(index, database, search)
    except Unavailable as error:
        health.down(error.dependency, error.detail)
        raise
    health.up("search")
    return Response(found.page.hits, headers=_headers(request, found))
