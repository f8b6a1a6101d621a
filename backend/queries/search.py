"""The search: the searcher's rights in the query, the page checked against the database, own writes awaited.

Guarantees: no hit of a channel that the searcher cannot read, nor of a deleted message, however far
the index lags behind; `complete` is True only if the version asked for was visible before the query.
"""

import asyncio
from dataclasses import dataclass

from backbone.database.engine import Database
from backbone.search import Hit, Rights, SearchIndex, SearchPage, SearchQuery
from backend.consistency import ConsistencyToken
from backend.queries.messages import private_channels_of, readable_messages

_LOOK_AGAIN_S = 0.02
# How many pages one answer may take from the index before it is sent as it is, short but with a cursor.
_REFILLS_MAX = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A page; `complete` says whether the asked version was visible, None when none was asked for."""

    page: SearchPage
    complete: bool | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Who searches for what, and how long to wait for which version (seconds)."""

    query: SearchQuery
    searcher_id: str | None
    limit: int
    cursor: str | None = None
    token: ConsistencyToken | None = None
    wait_s: float = 0.0


async def find_messages(index: SearchIndex, database: Database, search: Search) -> Found:
    """Search. Raises Unavailable, CursorExpired or CursorInvalid."""
    complete = None if search.token is None else await _visible(index, search.token, search.wait_s)
    return Found(await _checked_page(index, database, search), complete)


async def _checked_page(index: SearchIndex, database: Database, search: Search) -> SearchPage:
    hits: list[Hit] = []
    cursor = search.cursor
    page = SearchPage((), 0, None)
    for _ in range(_REFILLS_MAX):
        rights = Rights(await private_channels_of(database, search.searcher_id))
        page = await index.search(search.query, rights, search.limit - len(hits), cursor)
        readable = await readable_messages(database, [hit.id for hit in page.hits], search.searcher_id)
        hits += [hit for hit in page.hits if hit.id in readable]
        cursor = page.cursor
        if cursor is None or len(hits) == search.limit:
            break
    return SearchPage(tuple(hits), page.total, cursor)


async def _visible(index: SearchIndex, token: ConsistencyToken, wait_s: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        version = await index.visible_version(token.message_id)
        if version is not None and version >= token.version:
            return True
        if loop.time() + _LOOK_AGAIN_S > deadline:
            return False
        await asyncio.sleep(_LOOK_AGAIN_S)
