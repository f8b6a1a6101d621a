"""How long after its POST a message is found by a search, on running processes of the product.

Guarantees: posts are sent at fixed moments, however long the answers take; every one of them is found in
the end, through the search route, or the measurement fails.
"""

import asyncio
import itertools
import json
import re
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

from backbone.settings import Settings
from bench.failure import MeasurementFailed
from bench.index_figures import SearchableLag, lag_of
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
_ANSWERED_WITHIN_S = 10.0
_NEXT = re.compile(r'<([^>]+)>; *rel="next"')


class Connection:
    """One connection to the backend, one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int, stack: AsyncExitStack) -> Self:
        """Connect; the connection ends with the stack."""
        reader, writer = await asyncio.open_connection(HOST, port)
        stack.callback(writer.close)
        return cls(reader, writer)

    async def ask(self, request: bytes, expected: int) -> tuple[dict[str, str], Any]:
        """Send a request; return headers, by names in lower case, and the decoded body.

        Raises MeasurementFailed for another status than the one expected, or none in time.
        """
        try:
            async with asyncio.timeout(_ANSWERED_WITHIN_S):
                self._writer.write(request)
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (OSError, EOFError, TimeoutError) as error:
            raise MeasurementFailed("the backend gave no answer") from error
        if not status.startswith(f"HTTP/1.1 {expected} "):
            raise MeasurementFailed(f"the backend answered {status!r}: {body[:200].decode(errors='replace')}")
        return headers, json.loads(body)


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
        begun = time.perf_counter()
        moments = (begun + number / posts_per_second for number in range(posts))
        numbers = itertools.count()
        posting = [_post(connection, moments, numbers, backend.port, sightings) for connection in connections]
        await asyncio.gather(*posting)
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


async def _post(
    connection: Connection,
    moments: Iterator[float],
    numbers: Iterator[int],
    port: int,
    sightings: _Sightings,
) -> None:
    """Post at the next moment that no other connection has taken, until there are no more."""
    for moment in moments:
        await asyncio.sleep(moment - time.perf_counter())
        number = next(numbers)
        request = post_request(f"{HOST}:{port}", CHANNEL, f"author-{number % _AUTHORS}", number)
        _, message = await connection.ask(request, 201)
        # From the moment at which it was to be sent: what waits for a connection counts.
        sightings.posted[message["message_id"]] = moment


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
