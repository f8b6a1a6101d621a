"""A crowd of sockets that costs next to nothing: plain ones, of which the event loop sees one selector.

Guarantees: every frame is told with the moment at which it was read; sockets that the server closes are
counted. It reads what our server and `ws` send: whole text frames, and pings, which it answers.
"""

import asyncio
import resource
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from types import TracebackType
from typing import cast
from urllib.parse import quote

from backbone.errors import SetupError
from bench.failure import MeasurementFailed
from bench.server import HOST

ANSWERS_WITHIN_S = 20.0
# Whatever else is open, of the stores above all.
_OTHER_FILES = 500
_READ_BYTES = 65536
_TEXT, _PING = 1, 9

OnFrame = Callable[[int, bytes, float], None]
"""Is told the socket's number, the frame's text, and the moment in seconds of `perf_counter`."""


class FrameReader:
    """Puts the frames of a server together out of the pieces in which they come."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the opcode and payload of each frame that is whole now."""
        self._data += data
        while (frame := _first_frame(self._data)) is not None:
            opcode, begin, end = frame
            payload, self._data = self._data[begin:end], self._data[end:]
            yield opcode, payload


def _first_frame(data: bytes) -> tuple[int, int, int] | None:
    """Return the opcode of the first frame (RFC 6455, 5.2), and where its payload begins and ends."""
    if len(data) < 2:
        return None
    length, begin = data[1] & 0x7F, 2
    if length >= 126:
        begin = 4 if length == 126 else 10
        if len(data) < begin:
            return None
        length = int.from_bytes(data[2:begin], "big")
    return (data[0] & 0x0F, begin, begin + length) if len(data) >= begin + length else None


class Crowd(AbstractContextManager["Crowd"]):
    """Connected sockets, the first number 0; each has had its hello."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []
        self._readers: list[FrameReader] = []
        self._ready = selectors.DefaultSelector()
        self.closed = 0

    def __len__(self) -> int:
        return len(self._sockets)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._sockets:
            each.close()
        self._ready.close()

    def grow(self, user_ids: list[str]) -> None:
        """Connect these users too, one after the other. Raises MeasurementFailed."""
        for user_id in user_ids:
            connected = socket.create_connection((HOST, self._port), ANSWERS_WITHIN_S)
            self._sockets.append(connected)
            self._readers.append(FrameReader())
            connected.sendall(_handshake(self._port, user_id))
            _read_until(connected, b'"hello"')
            self._ready.register(connected, selectors.EVENT_READ, len(self._sockets) - 1)

    def subscribe(self, channel_id: str) -> None:
        """Subscribe each socket to the channel, from now on. Raises MeasurementFailed."""
        frame = masked(_TEXT, f'{{"type":"subscribe","channel_id":"{channel_id}"}}'.encode())
        for connected in self._sockets:
            connected.sendall(frame)
            _read_until(connected, b'"subscribed"')

    @contextmanager
    def watched(self, on_frame: OnFrame) -> Iterator[None]:
        """Within the block, tell of each text frame, on the running event loop."""
        loop = asyncio.get_running_loop()
        # Epoll and kqueue can be waited for themselves.
        selector = cast("selectors.EpollSelector", self._ready).fileno()
        loop.add_reader(selector, self._read, on_frame)
        try:
            yield
        finally:
            loop.remove_reader(selector)

    def _read(self, on_frame: OnFrame) -> None:
        for key, _ in self._ready.select(0):
            number = key.data
            connected = self._sockets[number]
            data = connected.recv(_READ_BYTES)
            moment = perf_counter()
            if not data:
                self._ready.unregister(connected)
                self.closed += 1
            for opcode, payload in self._readers[number].feed(data):
                if opcode == _TEXT:
                    on_frame(number, payload, moment)
                elif opcode == _PING:
                    connected.sendall(masked(_PING + 1, payload))


@contextmanager
def room_for_sockets(sockets: int) -> Iterator[None]:
    """Allow this process, and those that it starts in the block, so many sockets each.

    Raises SetupError where the system does not allow it.
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = before
    wanted = sockets + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SetupError(
            f"--sockets: {sockets:,} need {wanted:,} open files, the system allows {hard:,} (`ulimit -Hn`)"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a short frame of a client; a mask of zeros is one."""
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def _handshake(port: int, user_id: str) -> bytes:
    return (
        f"GET /ws?user_id={quote(user_id)} HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "User-Agent: a crowd\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Protocol: maeari.v1\r\n\r\n"
    ).encode()


def _read_until(connected: socket.socket, wanted: bytes) -> None:
    received = b""
    while wanted not in received:
        try:
            more = connected.recv(_READ_BYTES)
        except OSError as error:
            raise MeasurementFailed(f"a socket got no {wanted.decode()}: {error}") from error
        if not more:
            raise MeasurementFailed(f"a socket was closed before {wanted.decode()}: {received[-80:]!r}")
        received += more
