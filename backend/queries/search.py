"""The search: the searcher's rights in the query, the page checked against the database, own writes awaited.

Guarantees: no hit of a channel that the searcher cannot read, nor of a deleted message, however far
the index lags behind; `complete` is True only if every state of the index that the page was read from
held the version asked for, and never of a message that the searcher may not read: that one is waited
for as one that does not exist. A page is shorter than asked for only at the end of the hits, after
about PAGE_MAX_BYTES, when hundreds of hits in a row may not be shown any more, or when the index answers
no more; its cursor goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from backbone.database.bounded import PAGE_MAX_BYTES
from backbone.database.engine import Database
from backbone.errors import Unavailable
from backbone.search import DEPENDENCY, Hit, Rights, SearchIndex, SearchPage, SearchQuery, Witness
from backend.consistency import ConsistencyToken
from backend.queries.messages import may_read_message, private_channels_of, readable_messages
from schemas.codec import encode

# The first looks come soon, for an index on files sees a write at once; the later ones cost less.
_LOOK_AGAIN_S = 0.02
_LOOK_AGAIN_MAX_S = 0.1
# How long an index that answers late or no more is waited for: by all the requests that a page takes, by
# those that look for a version before; and where that time is over, as long as by the probes.
_ANSWER_WITHIN_S = 10.0
_ANSWER_LATE_WITHIN_S = 3.0
# How many hits are taken from the index at first: what an answer may hold beyond its size.
_AT_ONCE = 20
# How often one answer may take hits before it is sent as it is, short but with a cursor.
_TAKEN_MAX = 50


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
    if search.token is None:
        return await _checked_page(index, database, search, None)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + search.wait_s
    # What the searcher may not know is never looked for: nothing tells it from what does not exist.
    may_know = await may_read_message(database, search.token.message_id, search.searcher_id)
    witness = Witness(*search.token) if may_know else None
    while True:
        if not _looks_back(search):
            await _until_visible(index, witness, deadline)
        found = await _checked_page(index, database, search, witness)
        if found.complete or _looks_back(search) or loop.time() >= deadline:
            return replace(found, complete=bool(found.complete))
        # Another copy of the index answered, one that is behind.
        await asyncio.sleep(min(_LOOK_AGAIN_MAX_S, deadline - loop.time()))


def _looks_back(search: Search) -> bool:
    """Say whether the page is one of an earlier point in time: that never sees more, waiting is in vain."""
    return search.query.sort == "relevance" and search.cursor is not None


async def _until_visible(index: SearchIndex, witness: Witness | None, deadline: float) -> None:
    """Wait until searches seem to see the version, or the deadline has come; without a witness in vain.

    Raises Unavailable where the index does not answer: the time that was waited counts.
    """
    loop = asyncio.get_running_loop()
    answer_until = loop.time() + _ANSWER_WITHIN_S
    pause_s = _LOOK_AGAIN_S
    while (left_s := deadline - loop.time()) > 0:
        if witness is not None:
            async with _answering(max(answer_until, loop.time() + _ANSWER_LATE_WITHIN_S)):
                version = await index.visible_version(witness.message_id)
            if version is not None and version >= witness.version:
                return
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _LOOK_AGAIN_MAX_S)


@asynccontextmanager
async def _answering(until: float) -> AsyncIterator[None]:
    """Wait for the index until a time of the loop's clock. Raises Unavailable."""
    try:
        async with asyncio.timeout_at(until):
            yield
    except TimeoutError as error:
        raise Unavailable(DEPENDENCY, "no answer in time") from error


async def _checked_page(
    index: SearchIndex, database: Database, search: Search, witness: Witness | None
) -> Found:
    """Take hits until the page is full; its last take may bring more than fit, which are left to the next."""
    rights = Rights(await private_channels_of(database, search.searcher_id))
    hits: list[Hit] = []
    take, cursor, room_bytes = min(search.limit, _AT_ONCE), search.cursor, PAGE_MAX_BYTES
    page = SearchPage((), 0, None)
    seen: list[bool | None] = []
    answer_until = asyncio.get_running_loop().time() + _ANSWER_WITHIN_S
    for _ in range(_TAKEN_MAX):
        try:
            async with _answering(answer_until):
                page = await index.search(search.query, rights, take, cursor, witness)
        except Unavailable:
            if not hits:
                raise
            break
        seen.append(page.witnessed)
        # The rights were read before, the index lags: this is the database's word of the moment.
        readable = await readable_messages(database, [hit.id for hit in page.hits], search.searcher_id)
        found = [(n, hit) for n, hit in enumerate(page.hits) if hit.id in readable]
        # Only behind a cursor one can go on from the midst of a page.
        fitting, size_bytes = _fitting(found, search.limit - len(hits), room_bytes if cursor else None)
        hits += (hit for _, hit in fitting)
        room_bytes -= size_bytes
        cursor = page.places[fitting[-1][0]] if len(fitting) < len(found) else page.cursor
        if cursor is None or len(hits) == search.limit or room_bytes <= 0:
            break
        take = _next_take(search.limit, len(hits), room_bytes)
    complete = None if witness is None else all(seen)
    return Found(SearchPage(tuple(hits), page.total, cursor), complete)


def _fitting(
    found: Sequence[tuple[int, Hit]], count: int, room_bytes: int | None
) -> tuple[Sequence[tuple[int, Hit]], int]:
    """Return the first `count` hits, or fewer, up to the one that fills the room; and their size in bytes."""
    size_bytes = 0
    for number, (_, hit) in enumerate(found[:count], 1):
        size_bytes += len(encode(hit))
        if room_bytes is not None and size_bytes >= room_bytes:
            return found[:number], size_bytes
    return found[:count], size_bytes


def _next_take(limit: int, taken: int, room_bytes: int) -> int:
    """Return how many hits to take next: the rest at once where it fits if it is like what was taken."""
    average_bytes = (PAGE_MAX_BYTES - room_bytes) // max(taken, 1) + 1
    return max(_AT_ONCE, min(limit - taken, room_bytes // average_bytes))
