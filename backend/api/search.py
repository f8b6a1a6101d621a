"""The search route: parameters in, the bare array of hits out, everything else in headers."""

import re
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response, get
from litestar.di import NamedDependency

from backbone.database.engine import Database
from backbone.search import Hit, SearchIndex, SearchQuery
from backend.api.headers import listed_header, single_header
from backend.api.identity import reader_of
from backend.api.paging import limit_of, next_link, parameters_of
from backend.consistency import ConsistencyToken, decode_token
from backend.domain.rejections import Invalid
from backend.queries.search import Found, Search, find_messages
from backend.queries.search_query import (
    PARAMETERS,
    BadParameter,
    asks_for_nothing,
    parse_query,
    with_parameters,
)

LIMIT_DEFAULT = 20
WAIT_DEFAULT_S = 2.0
WAIT_MAX_S = 10.0
Q_MAX_CHARACTERS = 500
VALUES_MAX = 20

_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*("?)([0-9]+)\1(?:$|[,;\s])', re.IGNORECASE)


@dataclass(frozen=True)
class ReadSide:
    """What the search works with; `timezone` is that of the dates in queries."""

    database: Database
    index: SearchIndex
    timezone: ZoneInfo


@get("/messages/search", summary="Search messages")
async def search_messages(
    request: Request[Any, Any, Any],
    read_side: NamedDependency[ReadSide],
) -> Response[tuple[Hit, ...]]:
    """Return the hits that the searcher may see, as Elasticsearch writes them; totals in headers."""
    parameters = parameters_of(request, "q", "limit", "cursor", "sort")
    search = Search(
        query=_query(request, parameters.get("q", ""), read_side.timezone),
        searcher_id=reader_of(request),
        limit=limit_of(parameters.get("limit"), LIMIT_DEFAULT),
        cursor=parameters.get("cursor") or None,
        token=_token(request),
        wait_s=_wait_s(request),
    )
    found = await find_messages(read_side.index, read_side.database, search)
    return Response(found.page.hits, headers=_headers(request, found))


def _query(request: Request[Any, Any, Any], q: str, timezone: ZoneInfo) -> SearchQuery:
    if len(q) > Q_MAX_CHARACTERS:
        raise Invalid("q", f"at most {Q_MAX_CHARACTERS:,} characters")
    given = {name: request.query_params.getall(name, []) for name in PARAMETERS}
    for name, values in given.items():
        if len(values) > VALUES_MAX:
            raise Invalid(name, f"at most {VALUES_MAX} times")
    try:
        query = with_parameters(parse_query(q, timezone), given, timezone)
    except BadParameter as error:
        raise Invalid(error.field, error.message) from error
    if asks_for_nothing(query):
        raise Invalid("q", "give words or an operator such as from:, in:, mentions:, has:, before:, after:")
    return query


def _token(request: Request[Any, Any, Any]) -> ConsistencyToken | None:
    header = single_header(request, "Consistency-Token")
    if header is None:
        return None
    try:
        return decode_token(header)
    except ValueError as error:
        raise Invalid("Consistency-Token", str(error)) from error


def _wait_s(request: Request[Any, Any, Any]) -> float:
    """Read `Prefer: wait=SECONDS` (RFC 7240); other preferences and malformed ones are ignored."""
    asked = _WAIT.search(listed_header(request, "Prefer") or "")
    return min(float(asked[2]), WAIT_MAX_S) if asked else WAIT_DEFAULT_S


def _headers(request: Request[Any, Any, Any], found: Found) -> dict[str, str]:
    headers = {"Total-Count": str(found.page.total)}
    if found.page.cursor is not None:
        headers["Link"] = next_link(request, found.page.cursor)
    if found.complete is not None:
        headers["Search-Complete"] = "true" if found.complete else "false"
    return headers
