"""One socket of one user, from its hello to its close.

Guarantees: the client gets every entry of its inbox after the number it resumes at, in order, once
per socket: the session sends what it reads from the inbox after the last number sent, and wake-ups
only say when to look. It subscribes to wake-ups before it looks for the first time.
Channels that it follows are sent by its subscriptions, in the same way.
"""

import asyncio
from dataclasses import dataclass

import msgspec
import structlog
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from backbone.errors import Unavailable
from backbone.mailbox import Mailbox, Standing
from notifier.fan_out import FanOut
from notifier.handshake import Caller
from notifier.hub import Hub, Watch
from notifier.metrics import ACKS, FRAMES_SENT, SOCKETS_CLOSED, SOCKETS_OPEN
from notifier.subscriptions import Subscriptions
from schemas.events import encode
from schemas.frames import (
    CLOSE_BAD_FRAME,
    CLOSE_RESTARTING,
    CLOSE_TOO_SLOW,
    Ack,
    ClientFrame,
    ErrorFrame,
    Frame,
    Hello,
    Read,
    Subscribe,
    Unsubscribe,
    decode_client_frame,
)

# RFC 6455: the server met a condition that it did not expect.
CLOSE_BROKEN = 1011

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one socket may cost."""

    heartbeat_s: int = 30
    # How long a client may take to make room for one frame, and to answer a close.
    send_timeout_s: float = 10.0
    close_timeout_s: float = 5.0
    # Entries read at once: up to this many bodies wait in memory for a slow client.
    page: int = 32
    frame_bytes_max: int = 64 * 1024
    # How long to wait before the database is asked again when it does not answer.
    retry_s: float = 1.0


class Session:
    """Serves one connected client until it goes."""

    def __init__(
        self,
        socket: ServerConnection,
        caller: Caller,
        mailbox: Mailbox,
        stream: FanOut,
        hub: Hub,
        limits: Limits,
    ) -> None:
        self._socket = socket
        self._user_id = caller.user_id
        self._after = caller.after
        self._mailbox = mailbox
        self._stream = stream
        self._hub = hub
        self._limits = limits
        self._sent_seq = 0
        self._told_read = 0
        self._over = False

    async def run(self) -> None:
        """Say hello, then send and receive until the socket is closed."""
        with self._hub.subscribed(self._user_id) as inbox, SOCKETS_OPEN.track_inprogress():
            try:
                standing = await self._mailbox.standing(self._user_id)
            except Unavailable as error:
                log.warning("socket_refused", user_id=self._user_id, error=str(error))
                await close(
                    self._socket, CLOSE_RESTARTING, "the inbox does not answer, try again", self._limits
                )
                return
            self._subscriptions = Subscriptions(
                self._user_id, self._stream, self._hub, inbox.wake_up, self._send_encoded
            )
            await self._start(standing)
            # The first look finds what came before the wake-ups did.
            inbox.wake_up.set()
            try:
                await self._until_either_ends(inbox)
            finally:
                self._subscriptions.close()

    async def _start(self, standing: Standing) -> None:
        self._sent_seq = standing.latest_seq if self._after is None else min(self._after, standing.latest_seq)
        self._told_read = standing.read_up_to
        await self._send(
            Hello(
                user_id=self._user_id,
                epoch=standing.epoch,
                latest_seq=standing.latest_seq,
                heartbeat_s=self._limits.heartbeat_s,
            )
        )

    async def _until_either_ends(self, inbox: Watch) -> None:
        # Neither side is cancelled: whatever it asks of the database ends first.
        pushing = asyncio.create_task(self._push(inbox))
        try:
            await self._receive()
        finally:
            self._over = True
            inbox.wake_up.set()
            await pushing

    async def _push(self, inbox: Watch) -> None:
        """Send whatever is new, each time there is something to look for."""
        try:
            while True:
                await inbox.wake_up.wait()
                inbox.wake_up.clear()
                if self._over:
                    return
                try:
                    if inbox.stale:
                        inbox.stale = False
                        await self._send_news()
                    await self._subscriptions.send_news()
                except Unavailable as error:
                    log.warning("inbox_unavailable", user_id=self._user_id, error=str(error))
                    await asyncio.sleep(self._limits.retry_s)
                    inbox.stale = True
                    inbox.wake_up.set()
        finally:
            # Whatever ended this ends the other side too.
            if self._socket.state is State.OPEN:
                await close(
                    self._socket, CLOSE_BROKEN, "internal error: connect again and resume", self._limits
                )

    async def _send_news(self) -> None:
        while True:
            standing, entries = await self._mailbox.after(self._user_id, self._sent_seq, self._limits.page)
            for entry in entries:
                await self._send(entry)
                self._sent_seq = entry.seq
            if standing.read_up_to > self._told_read:
                self._told_read = standing.read_up_to
                await self._send(Read(up_to=standing.read_up_to))
            if len(entries) < self._limits.page:
                return

    async def _receive(self) -> None:
        while True:
            data = await self._socket.recv()
            try:
                if not isinstance(data, str):
                    raise msgspec.DecodeError("frames are text")
                frame = decode_client_frame(data)
            except msgspec.DecodeError as error:
                await close(self._socket, CLOSE_BAD_FRAME, str(error), self._limits)
                return
            await self._handle(frame)

    async def _handle(self, frame: ClientFrame) -> None:
        match frame:
            case Read():
                await self._mark_read(frame.up_to)
            case Ack():
                ACKS.inc()
            case Subscribe():
                await self._subscriptions.subscribe(frame)
            case Unsubscribe():
                await self._subscriptions.unsubscribe(frame)

    async def _mark_read(self, up_to: int) -> None:
        try:
            read_up_to = await self._mailbox.mark_read(self._user_id, up_to)
        except Unavailable as error:
            await self._send(ErrorFrame(code="unavailable", detail=f"not marked as read: {error}"))
            return
        # Its own mark is no news to this socket.
        self._told_read = max(self._told_read, read_up_to)
        self._hub.wake([self._user_id])

    async def _send(self, frame: Frame) -> None:
        """Send one frame; a client that makes no room for it in time is closed, and may resume."""
        await self._send_encoded(encode(frame), str(frame.__struct_config__.tag))

    async def _send_encoded(self, frame: bytes, kind: str) -> None:
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._socket.send(frame, text=True)
        except TimeoutError:
            log.info("socket_too_slow", user_id=self._user_id, sent_seq=self._sent_seq)
            await close(self._socket, CLOSE_TOO_SLOW, "too slow: connect again and resume", self._limits)
            raise
        FRAMES_SENT.labels(kind).inc()


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
