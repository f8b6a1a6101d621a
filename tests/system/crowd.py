"""A crowd of sockets at one node: plain ones, so that two thousand of them cost the test next to nothing."""

import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

_ANSWER_WITHIN_S = 20
# Those of the test, those of the node, and whatever else is open.
_FILES = 8192


class Crowd:
    """Connected users; each has had its hello."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: dict[int, socket.socket] = {}
        self._ready = select.epoll()

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._sockets.values():
            each.close()
        self._ready.close()

    def grow(self, number: int, channel_id: str | None = None) -> None:
        """Connect so many more users, and subscribe each to the channel, from now on."""
        for index in range(len(self._sockets), len(self._sockets) + number):
            connected = self._connected(f"u{index}")
            if channel_id is not None:
                connected.sendall(_masked(f'{{"type":"subscribe","channel_id":"{channel_id}"}}'.encode()))
                _read_until(connected, b'"subscribed"')
            self._sockets[connected.fileno()] = connected
            self._ready.register(connected, select.EPOLLIN)

    def arrivals(self) -> Iterator[float]:
        """Yield the moments, in seconds, at which the next frame of each arrives; wait for all."""
        waiting = dict(self._sockets)
        while waiting:
            ready = self._ready.poll(_ANSWER_WITHIN_S)
            assert ready, f"{len(waiting)} sockets got nothing"
            for descriptor, _ in ready:
                assert self._sockets[descriptor].recv(65536), "closed"
                assert waiting.pop(descriptor, None) is not None, "one frame each"
                yield time.perf_counter()

    def _connected(self, user_id: str) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self._port), _ANSWER_WITHIN_S)
        connected.sendall(
            f"GET /ws?user_id={user_id} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "User-Agent: a crowd\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Protocol: maeari.v1\r\n\r\n".encode()
        )
        _read_until(connected, b'"hello"')
        return connected


@contextmanager
def room_for_sockets() -> Iterator[None]:
    """Allow this process, and those that it starts in the block, thousands of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = before
    if soft < _FILES:
        wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _masked(data: bytes) -> bytes:
    """Return a short text frame of a client; a mask of zeros is one."""
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


def _read_until(connected: socket.socket, wanted: bytes) -> None:
    received = b""
    while wanted not in received:
        more = connected.recv(4096)
        assert more, f"closed before {wanted!r}: {received!r}"
        received += more
