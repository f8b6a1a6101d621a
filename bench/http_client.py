"""An HTTP/1.1 client for loads, as lean as Python allows: each connection has one request in flight.

It reads what our server sends, answers with a Content-Length; anything else ends the connection. Each
request that was sent is either answered or counted as lost.
"""

import asyncio
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import cast

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,15})\r\n", re.IGNORECASE)

# How long answers to what is in flight are waited for once no more is sent.
ANSWERS_WITHIN_S = 30.0


class NotReadable(Exception):
    """The bytes are no answer that this client reads."""


class AnswerReader:
    """Puts an answer together out of the pieces in which it comes, one answer after the other."""

    def __init__(self) -> None:
        self._data = b""
        self._status = 0
        self._whole_bytes = 0

    def feed(self, data: bytes) -> int | None:
        """Take the next piece; return the status once the answer is whole. Raises NotReadable."""
        self._data = self._data + data if self._data else data
        if not self._whole_bytes:
            self._read_head()
        if not self._whole_bytes or len(self._data) < self._whole_bytes:
            return None
        if len(self._data) > self._whole_bytes:
            raise NotReadable("more bytes than the answer has")
        self._data, self._whole_bytes = b"", 0
        return self._status

    def _read_head(self) -> None:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        status = _STATUS.match(self._data)
        length = _LENGTH.search(self._data, 0, end + 2)
        if status is None or length is None:
            raise NotReadable(f"no answer with a Content-Length: {self._data[:80]!r}")
        self._status = int(status[1])
        self._whole_bytes = end + 4 + int(length[1])


@dataclass
class Tally:
    """What came of the requests of one load: answers by status, and how long those with `counted` took."""

    counted: int
    latencies_ns: "array[int]" = field(default_factory=lambda: array("q"))
    others: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    elapsed_ns: int = 0

    @property
    def acknowledged(self) -> int:
        """How many answers had the status that counts."""
        return len(self.latencies_ns)

    def answered(self, status: int, latency_ns: int) -> None:
        """Take one answer in."""
        if status == self.counted:
            self.latencies_ns.append(latency_ns)
        else:
            self.others[status] += 1


class LoadGenerator:
    """Sends the requests, one after the other as connections come free; each is a whole request's bytes."""

    def __init__(self, requests: Iterator[bytes], counted: int) -> None:
        self._requests = requests
        self._counted = counted
        self._connections: list[_Connection] = []
        self._tally = Tally(counted)
        self._sending = False
        self._in_flight = 0
        self._all_answered = asyncio.Event()

    async def connect(self, host: str, port: int, connections: int) -> None:
        """Open the connections. Raises OSError."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), host, port)
            self._connections.append(connection)

    async def run(self, seconds: float) -> Tally:
        """Send for so long, or until no request is left, then wait for the answers; return what came of it.

        What is not answered within 30 s counts as lost, and its connection is of no more use.
        """
        self._tally = tally = Tally(self._counted)
        self._all_answered.clear()
        self._sending = True
        started_ns = perf_counter_ns()
        stop = asyncio.get_running_loop().call_later(seconds, self._stop_sending)
        for connection in self._connections:
            if connection.usable:
                connection.send()
        self._check_all_answered()
        try:
            async with asyncio.timeout(seconds + ANSWERS_WITHIN_S):
                await self._all_answered.wait()
        except TimeoutError:
            self.close()
        finally:
            stop.cancel()
        tally.elapsed_ns = perf_counter_ns() - started_ns
        return tally

    def close(self) -> None:
        """Close the connections; what is in flight counts as lost."""
        for connection in self._connections:
            connection.give_up()

    def next_request(self) -> bytes | None:
        """Return what is sent next; None when nothing more is."""
        if not self._sending:
            return None
        request = next(self._requests, None)
        if request is None:
            self._stop_sending()
            return None
        self._in_flight += 1
        return request

    def answered(self, status: int, latency_ns: int) -> None:
        """Take the answer to a request in."""
        self._in_flight -= 1
        self._tally.answered(status, latency_ns)
        self._check_all_answered()

    def lost(self) -> None:
        """Note that a request will have no answer."""
        self._in_flight -= 1
        self._tally.lost += 1
        self._check_all_answered()

    def _stop_sending(self) -> None:
        self._sending = False
        self._check_all_answered()

    def _check_all_answered(self) -> None:
        if self._in_flight == 0 and not (self._sending and any(c.usable for c in self._connections)):
            self._all_answered.set()


class _Connection(asyncio.Protocol):
    def __init__(self, generator: LoadGenerator) -> None:
        self._generator = generator
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._sent_ns = 0

    @property
    def usable(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        request = self._generator.next_request()
        if request is not None and self._transport is not None:
            self._sent_ns = perf_counter_ns()
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            status = self._reader.feed(data)
        except NotReadable:
            self.give_up()
            return
        if status is not None and self._sent_ns:
            latency_ns, self._sent_ns = perf_counter_ns() - self._sent_ns, 0
            self._generator.answered(status, latency_ns)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.give_up()

    def give_up(self) -> None:
        """Use this connection no more."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._sent_ns:
            self._sent_ns = 0
            self._generator.lost()
