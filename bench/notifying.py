"""A notifier under a crowd of sockets: what an idle one costs, and when frames come to them.

Guarantees: posts are made over REST to a backend, frames are read at sockets, nothing in between is looked
at; every frame that was to come came exactly once, or the measurement fails.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

from backbone.settings import Settings
from bench.crowd import ANSWERS_WITHIN_S, Crowd
from bench.failure import MeasurementFailed
from bench.notify_figures import Arrivals, FrameLatency, latency_of
from bench.open_loop import Connection, post_at_moments
from bench.server import HOST, RunningService, running_backend, running_notifier

FOLLOWED, ANNOUNCED, MENTIONING = "bench-followed", "bench-announced", "bench-mentioning"
_OWNER = "bench-owner"
# Before they are counted: what the first sockets load stays.
_FIRST = 100
_AUTHORS = 50
_CONNECTIONS = 64
_WARM_UP_POSTS = 50
# What follows the last frame in this time would be one too many.
_SETTLED_S = 0.3
_NUMBER = re.compile(rb"bench post ([0-9]+)")


class Platform:
    """A backend and a notifier, and the crowd at its sockets."""

    def __init__(self, backend: RunningService, notifier: RunningService, crowd: Crowd) -> None:
        self._backend = backend
        self._notifier = notifier
        self.crowd = crowd
        self._numbers = 0

    async def add_idle(self, sockets: int) -> float | None:
        """Connect users who get nothing; return the KiB that each costs, None where that is not known."""
        users = [_user(number) for number in range(sockets)]
        self.crowd.grow(users[:_FIRST])
        before_kib = self._notifier.resident_kib()
        self.crowd.grow(users[_FIRST:])
        after_kib = self._notifier.resident_kib()
        if before_kib is None or after_kib is None or sockets <= _FIRST:
            return None
        return round((after_kib - before_kib) / (sockets - _FIRST), 1)

    async def make_channels(self) -> None:
        """Make the three channels; the crowd follows one, and is a member of another."""
        for channel_id in (FOLLOWED, ANNOUNCED, MENTIONING):
            await self.post(channel_id)
        async with self._connections(1) as (connection,):
            for number in range(len(self.crowd)):
                path = f"/channels/{ANNOUNCED}/members/{_user(number)}"
                await connection.ask(self._request("PUT", path, _OWNER, {"role": "member"}), 200)
        await asyncio.sleep(_SETTLED_S)
        self.crowd.subscribe(FOLLOWED)

    async def post(self, channel_id: str, mentions: tuple[str, ...] = ()) -> float:
        """Post once; return the moment at which it was sent."""
        self._numbers += 1
        async with self._connections(1) as (connection,):
            moment = perf_counter()
            await connection.ask(self._message(channel_id, _OWNER, self._numbers, mentions), 201)
        return moment

    async def fan_out(self, channel_id: str, mentions: tuple[str, ...] = ()) -> tuple[Arrivals, int]:
        """Post what each socket gets one frame of; return when each got it, and the frame's bytes."""
        async with one_frame_each(self.crowd) as gathered:
            moment = await self.post(channel_id, mentions)
            arrivals, frame_bytes = await gathered()
        return [arrival - moment for arrival in arrivals], frame_bytes

    async def latency(
        self, posts_per_second: float, posts: int, warm_up_posts: int = _WARM_UP_POSTS
    ) -> FrameLatency:
        """Mention one user after the other at a fixed rate, and wait for each one's frame."""
        await self._mention(posts_per_second, warm_up_posts)
        return await self._mention(posts_per_second, posts)

    async def _mention(self, posts_per_second: float, posts: int) -> FrameLatency:
        first = self._numbers + 1
        self._numbers += posts
        sent: dict[int, float] = {}
        came: dict[int, float] = {}
        repeated: list[int] = []

        def on_frame(_socket: int, payload: bytes, moment: float) -> None:
            found = _NUMBER.search(payload)
            number = int(found[1]) if found else 0
            if number in came:
                repeated.append(number)
            came[number] = moment

        def request(number: int) -> bytes:
            user_id = _user(number % len(self.crowd))
            return self._message(MENTIONING, f"author-{number % _AUTHORS}", first + number, (user_id,))

        def posted(moment: float, message: Any) -> None:
            sent[int(message["content"].removeprefix("bench post "))] = moment

        async with self._connections(_CONNECTIONS) as connections:
            begun = perf_counter()
            with self.crowd.watched(on_frame):
                await post_at_moments(connections, posts_per_second, posts, request, posted)
                answered_s = perf_counter() - begun
                await self._until(lambda: came.keys() >= sent.keys(), "mentions were not told")
                await asyncio.sleep(_SETTLED_S)
        if repeated:
            raise MeasurementFailed(f"{len(repeated):,} mentions were told more than once")
        return latency_of([came[each] - sent[each] for each in sent], posts_per_second, answered_s)

    @asynccontextmanager
    async def _connections(self, number: int) -> AsyncIterator[list[Connection]]:
        """Connect anew for what comes: the backend closes what is idle for seconds."""
        async with AsyncExitStack() as stack:
            yield [await Connection.to(self._backend.port, stack) for _ in range(number)]

    async def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline_s = perf_counter() + ANSWERS_WITHIN_S
        while not done():
            self._notifier.require_running()
            if self.crowd.closed or perf_counter() > deadline_s:
                closed = f", {self.crowd.closed} sockets were closed" if self.crowd.closed else ""
                raise MeasurementFailed(f"{otherwise}{closed}")
            await asyncio.sleep(0.01)

    def _message(self, channel_id: str, author_id: str, number: int, mentions: tuple[str, ...]) -> bytes:
        body = {
            "channel_id": channel_id,
            "author_id": author_id,
            "content": f"bench post {number}",
            "mentions": list(mentions),
        }
        return self._request("POST", "/messages", author_id, body)

    def _request(self, method: str, path: str, user_id: str, body: dict[str, Any]) -> bytes:
        encoded = json.dumps(body, ensure_ascii=False).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {HOST}:{self._backend.port}\r\nX-User-Id: {user_id}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(encoded)}\r\n\r\n"
        )
        return head.encode() + encoded


@asynccontextmanager
async def running_platform(stores: Settings) -> AsyncIterator[Platform]:
    """Run a backend and a notifier on the stores, with no sockets yet. Raises MeasurementFailed."""
    # One user makes all members here, faster than people do.
    async with (
        running_backend(stores, None, WRITE_RATE=100_000, WRITE_BURST=100_000) as backend,
        running_notifier(stores) as (notifier, port),
    ):
        with Crowd(port) as crowd:
            yield Platform(backend, notifier, crowd)


@asynccontextmanager
async def one_frame_each(crowd: Crowd) -> AsyncIterator[Callable[[], Any]]:
    """Yield what waits until each socket got a frame; it returns when, and how long the text was.

    Raises MeasurementFailed where one gets none in time, or a second one.
    """
    arrivals: dict[int, float] = {}
    lengths: set[int] = set()
    repeated: list[int] = []
    complete = asyncio.Event()

    def on_frame(number: int, payload: bytes, moment: float) -> None:
        if number in arrivals:
            repeated.append(number)
        arrivals[number] = moment
        lengths.add(len(payload))
        if len(arrivals) == len(crowd):
            complete.set()

    async def gathered() -> tuple[Arrivals, int]:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                await complete.wait()
        except TimeoutError:
            missing = len(crowd) - len(arrivals)
            raise MeasurementFailed(f"{missing:,} of {len(crowd):,} sockets got no frame") from None
        await asyncio.sleep(_SETTLED_S)
        if repeated:
            raise MeasurementFailed(f"{len(repeated):,} sockets got a frame more than once")
        return list(arrivals.values()), max(lengths)

    with crowd.watched(on_frame):
        yield gathered


def _user(number: int) -> str:
    return f"bench-user-{number}"
