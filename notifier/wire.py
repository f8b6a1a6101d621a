"""The wire to one client: frames out, in time or not at all, and the close.

Guarantees: what waits in memory for a client that is slow is bounded: whoever writes waits until it has made
room, and closes it with 4408 when it does not; `write_now` writes nothing where there is no room.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.protocol import State

from notifier.metrics import FRAMES_SENT, SOCKETS_CLOSED
from schemas.events import encode
from schemas.frames import CLOSE_TOO_SLOW, Frame

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one socket, and one user's, may cost."""

    heartbeat_s: int = 30
    handshake_timeout_s: float = 10.0
    # How long a client may take to make room for one frame, and to answer a close.
    send_timeout_s: float = 10.0
    close_timeout_s: float = 5.0
    # Over how long the sockets of a node that stops are closed, one after the other.
    drain_s: float = 3.0
    # Entries, or events of a channel, read at once: up to this many wait in memory for a slow client.
    page: int = 32
    frame_bytes_max: int = 64 * 1024
    # Frames of a client that wait for the one before to be served.
    frames_waiting_max: int = 4
    # What may wait for a client before writers do.
    unsent_bytes_max: int = 32 * 1024
    subscriptions_max: int = 100
    sockets_of_user_max: int = 20
    # How often the ends of channels are looked at, whatever the log says of them.
    look_every_s: float = 3.0
    # How long to wait before the database is asked again when it does not answer.
    retry_s: float = 1.0


class Connection(ServerConnection):
    """A connection that knows when its client was last heard of.

    While the client takes nothing, nothing is read from it either: answers to pings must not pile up.
    """

    heard_s: float = 0.0

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        self.heard_s = self.loop.time()
        super().data_received(data)
        if self.paused:
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Note that what was sent waits to be taken."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Note that it was taken."""
        super().resume_writing()
        # Frames that wait to be served have their own reason for not reading on.
        if not self.recv_messages.paused:
            self.transport.resume_reading()


class Wire:
    """Sends frames to one client."""

    __slots__ = ("_connection", "_limits", "user_id")

    def __init__(self, connection: ServerConnection, user_id: str, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self.user_id = user_id

    @property
    def is_open(self) -> bool:
        """Whether frames may still be sent."""
        return self._connection.state is State.OPEN

    async def receive(self) -> str | bytes:
        """Return the next frame of the client. Raises ConnectionClosed."""
        return await self._connection.recv()

    async def send(self, frame: Frame) -> None:
        """Send one frame. Raises as `send_encoded`."""
        await self.send_encoded(encode(frame), str(frame.__struct_config__.tag))

    async def send_encoded(self, data: bytes, tag: str) -> None:
        """Send one frame; a client that makes no room for it in time is closed, and may resume.

        Raises TimeoutError then, and ConnectionClosed.
        """
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._connection.send(data, text=True)
        except TimeoutError:
            log.info("socket_too_slow", user_id=self.user_id)
            await self.close(CLOSE_TOO_SLOW, "too slow: connect again and resume")
            raise
        FRAMES_SENT.labels(tag).inc()

    def write_now(self, raw: bytes) -> bool:
        """Write bytes of `raw_frame` unless the client has yet to take in what was sent before."""
        connection = self._connection
        if connection.paused or connection.protocol.state is not State.OPEN:
            return False
        connection.transport.write(raw)
        return True

    async def close(self, code: int, reason: str) -> None:
        """Close the socket."""
        await close(self._connection, code, reason, self._limits)


def raw_frame(data: bytes) -> bytes:
    """Return a text frame as it goes over the wire: the same bytes for every client, without compression."""
    return _on_the_wire(WireFrame(Opcode.TEXT, data))


PING = WireFrame(Opcode.PING, b"").serialize(mask=False)


def _on_the_wire(frame: Any) -> bytes:
    serialized: bytes = frame.serialize(mask=False)
    return serialized


async def close(socket: ServerConnection, code: int, reason: str, limits: Limits) -> None:
    """Close the socket; cut the connection when the client does not take the close in time."""
    SOCKETS_CLOSED.labels(code).inc()
    # A close frame has room for 123 bytes of reason.
    short = reason.encode()[:123].decode(errors="ignore")
    try:
        async with asyncio.timeout(limits.close_timeout_s):
            await socket.close(code, short)
    except TimeoutError:
        socket.transport.abort()
        await socket.wait_closed()
