"""Posts at fixed moments, however long the answers take: what waits for a connection counts as well."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from bench.failure import MeasurementFailed
from bench.server import HOST

_ANSWERED_WITHIN_S = 10.0


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


async def post_at_moments(
    connections: Sequence[Connection],
    posts_per_second: float,
    posts: int,
    request: Callable[[int], bytes],
    posted: Callable[[float, Any], None],
) -> None:
    """Send the requests of the numbers from 0 on, each at its moment, by whichever connection is free.

    `posted` is told the moment at which a request was to be sent, in seconds of `perf_counter`, and the
    decoded answer. Raises MeasurementFailed.
    """
    begun = time.perf_counter()
    numbers = iter(range(posts))

    async def post(connection: Connection) -> None:
        for number in numbers:
            moment = begun + number / posts_per_second
            await asyncio.sleep(moment - time.perf_counter())
            _, message = await connection.ask(request(number), 201)
            posted(moment, message)

    await asyncio.gather(*map(post, connections))
