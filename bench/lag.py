"""How long after its POST a message is found by a search, on running processes of the product.

Guarantees: posts are sent at fixed moments, however long the answers take; every one of them is found in
the end, through the search route, or the measurement fails.
"""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from backbone.settings import Settings
from bench.failure import MeasurementFailed
from bench.index_figures import SearchableLag, lag_of
from bench.open_loop import Connection, post_at_moments
from bench.server import HOST, RunningService, running_backend, running_indexer
from bench.workload import post_request

CHANNEL = "bench-lag"
# No author writes faster than the limit on writes allows.
_AUTHORS = 50
_CONNECTIONS = 16
_WARM_UP_POSTS = 20
# How often a search looks, at most: what is measured is too long by half of it, on average.
LOOK_EVERY_S = 0.02
_PAGE = 100
_FOUND_WITHIN_S = 30.0
_NEXT = re.compile(r'<([^>]+)>; *rel="next"')


@dataclass
class _Sightings:
    """When each message was posted, and when it was found first, in seconds of one clock."""

    posted: dict[str, float] = field(default_factory=dict)
    found: dict[str, float] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        return len(self.posted.keys() - self.found.keys())

    def lags_s(self) -> list[float]:
        return [self.found[message_id] - at for message_id, at in self.posted.items()]


async def measure_lag(stores: Settings, posts_per_second: float, seconds: float) -> SearchableLag:
    """Post at a fixed rate to a backend while an indexer runs, and search meanwhile.

    Raises MeasurementFailed.
    """
    posts = max(1, round(posts_per_second * seconds))
    async with running_backend(stores, None) as backend, running_indexer(stores) as indexer:
        await _post_and_find(backend, indexer, posts_per_second, _WARM_UP_POSTS)
        sightings = await _post_and_find(backend, indexer, posts_per_second, posts)
    return lag_of(sightings.lags_s(), posts_per_second)


async def _post_and_find(
    backend: RunningService, indexer: RunningService, posts_per_second: float, posts: int
) -> _Sightings:
    sightings = _Sightings()
    async with AsyncExitStack() as stack:
        connections = [await Connection.to(backend.port, stack) for _ in range(_CONNECTIONS)]
        searcher = await Connection.to(backend.port, stack)
        watching = asyncio.create_task(_watch(searcher, sightings))
        stack.callback(watching.cancel)

        def request(number: int) -> bytes:
            return post_request(f"{HOST}:{backend.port}", CHANNEL, f"author-{number % _AUTHORS}", number)

        def posted(moment: float, message: Any) -> None:
            sightings.posted[message["message_id"]] = moment

        await post_at_moments(connections, posts_per_second, posts, request, posted)
        deadline_s = time.monotonic() + _FOUND_WITHIN_S
        while sightings.missing and not watching.done():
            indexer.require_running()
            if time.monotonic() > deadline_s:
                raise MeasurementFailed(
                    f"{sightings.missing:,} of {posts:,} messages were not found within {_FOUND_WITHIN_S:g} s"
                )
            await asyncio.sleep(LOOK_EVERY_S)
        if watching.done():
            watching.result()
    return sightings


async def _watch(connection: Connection, sightings: _Sightings) -> None:
    """Search for the newest messages again and again; note when each is found first."""
    first = f"/messages/search?{urlencode({'in': CHANNEL, 'sort': 'newest', 'limit': _PAGE})}"
    while True:
        looked = time.perf_counter()
        path: str | None = first
        while path is not None:
            request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
            headers, hits = await connection.ask(request.encode(), 200)
            now = time.perf_counter()
            new = [hit["_id"] for hit in hits if hit["_id"] not in sightings.found]
            sightings.found.update(dict.fromkeys(new, now))
            following = _NEXT.search(headers.get("link", ""))
            # Behind a page of nothing but news there may be more.
            path = following[1] if following and len(new) == len(hits) else None
        await asyncio.sleep(max(0.0, LOOK_EVERY_S - (time.perf_counter() - looked)))
