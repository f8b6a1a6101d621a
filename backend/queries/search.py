"""The search: the searcher's rights in the query, the page checked against the database, own writes awaited.

Guarantees: no hit of a channel that the searcher cannot read, nor of a deleted message, however far
the index lags behind; `complete` is True only if the version asked for was visible before the query,
and never of a message that the searcher may not read: that one is waited for as one that does not exist.
An answer ends after about PAGE_MAX_BYTES of hits.
"""

import asyncio
from dataclasses import dataclass

from backbone.database.bounded import PAGE_MAX_BYTES
from backbone.database.engine import Database
from backbone.search import Hit, Rights, SearchIndex, SearchPage, SearchQuery
from backend.consistency import ConsistencyToken
from backend.queries.messages import may_read_message, private_channels_of, readable_messages
from schemas.codec import encode

_LOOK_AGAIN_S = 0.02
# How many hits are taken from the index at once: what an answer may hold beyond its size.
_AT_ONCE = 20
# How often one answer may take hits before it is sent as it is, short but with a cursor.
_TAKEN_MAX = 15


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
    complete: bool | None = None
    if search.token is not None:
        may_know = await may_read_message(database, search.token.message_id, search.searcher_id)
        complete = await _visible(index, search.token, search.wait_s, may_know=may_know)
    return Found(await _checked_page(index, database, search), complete)


async def _checked_page(index: SearchIndex, database: Database, search: Search) -> SearchPage:
    hits: list[Hit] = []
    cursor = search.cursor
    page = SearchPage((), 0, None)
    size_bytes = 0
    for _ in range(_TAKEN_MAX):
        rights = Rights(await private_channels_of(database, search.searcher_id))
        page = await index.search(search.query, rights, min(search.limit - len(hits), _AT_ONCE), cursor)
        readable = await readable_messages(database, [hit.id for hit in page.hits], search.searcher_id)
        taken = [hit for hit in page.hits if hit.id in readable]
        hits += taken
        size_bytes += len(encode(taken))
        cursor = page.cursor
        if cursor is None or len(hits) == search.limit or size_bytes >= PAGE_MAX_BYTES:
            break
    return SearchPage(tuple(hits), page.total, cursor)


async def _visible(index: SearchIndex, token: ConsistencyToken, wait_s: float, *, may_know: bool) -> bool:
    """Wait for the version; where the searcher may not know, in vain, as long as for an unknown one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        version = await index.visible_version(token.message_id)
        if may_know and version is not None and version >= token.version:
            return True
        if loop.time() + _LOOK_AGAIN_S > deadline:
            return False
        await asyncio.sleep(_LOOK_AGAIN_S)
