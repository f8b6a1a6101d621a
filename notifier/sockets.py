"""The WebSocket server: `/ws`, subprotocol `maeari.v1`, one session a socket.

Guarantees: whoever may not connect is told by a close code (4401, 4403, 4400), not by silence; when
the server stops, every socket is closed with 1012, and cut off when its client does not answer; when
its token ends, a socket is closed with 4401.
"""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from backbone.channel_stream import ChannelStream
from backbone.clock import Clock, SystemClock
from backbone.errors import Unavailable
from backbone.mailbox import Mailbox
from backbone.tokens import TokenVerifier
from notifier.fan_out import FanOut
from notifier.handshake import PATH, Caller, Refused, check_origin, read_caller
from notifier.hub import Hub
from notifier.session import Limits, Session, close
from schemas.frames import CLOSE_NOT_AUTHENTICATED, CLOSE_RESTARTING, SUBPROTOCOL

log = structlog.get_logger()


class SocketServer:
    """Listens, checks who connects, and runs the sessions."""

    def __init__(
        self,
        mailbox: Mailbox,
        stream: ChannelStream,
        hub: Hub,
        allowed_origins: Sequence[str] = (),
        limits: Limits | None = None,
        verifier: TokenVerifier | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Without a verifier no token is asked for: `?user_id=` says who connects."""
        self._mailbox = mailbox
        self._stream = FanOut(stream)
        self._hub = hub
        self._allowed_origins = allowed_origins
        self._limits = limits or Limits()
        self._verifier = verifier
        self._clock = clock or SystemClock()
        self._server: Server | None = None
        self._closing = False

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a socket that listens."""
        limits = self._limits
        self._server = await serve(
            self._serve,
            sock=listener,
            process_request=_only_our_path,
            select_subprotocol=_select_subprotocol,
            compression=None,
            ping_interval=limits.heartbeat_s,
            ping_timeout=limits.heartbeat_s,
            close_timeout=limits.close_timeout_s,
            max_size=limits.frame_bytes_max,
            server_header=None,
        )

    async def close(self) -> None:
        """Stop listening and close every socket with 1012."""
        if self._server is None:
            return
        self._closing = True
        self._server.close(close_connections=False)
        await asyncio.gather(*(self._restart(connection) for connection in self._server.connections))
        await self._server.wait_closed()

    async def _restart(self, connection: ServerConnection) -> None:
        await close(connection, CLOSE_RESTARTING, "restarting: connect again and resume", self._limits)

    async def _serve(self, connection: ServerConnection) -> None:
        if self._closing:
            await self._restart(connection)
            return
        try:
            caller = await self._caller(connection)
        except Refused as refused:
            log.info("socket_refused", code=refused.code, reason=refused.reason)
            await close(connection, refused.code, refused.reason, self._limits)
            return
        except Unavailable as error:
            log.warning("socket_refused", code=CLOSE_RESTARTING, reason=str(error))
            await close(connection, CLOSE_RESTARTING, f"{error.dependency} down, try again", self._limits)
            return
        try:
            with self._until_expiry(connection, caller):
                await Session(connection, caller, self._mailbox, self._stream, self._hub, self._limits).run()
        except (ConnectionClosed, TimeoutError):
            # The client went, or was too slow and was closed: both are its own affair.
            return

    async def _caller(self, connection: ServerConnection) -> Caller:
        """Return who connects. Raises Refused, Unavailable."""
        assert connection.request is not None, "the handshake is over"
        headers = connection.request.headers
        for origin in headers.get_all("Origin"):
            check_origin(origin, self._allowed_origins)
        return await read_caller(connection.request.path, headers, self._verifier)

    @contextmanager
    def _until_expiry(self, connection: ServerConnection, caller: Caller) -> Iterator[None]:
        """Close the socket when the caller's token ends, unless the block ends before."""
        if caller.expires_at_ms is None:
            yield
            return
        closing = asyncio.create_task(self._close_at(caller.expires_at_ms, connection))
        try:
            yield
        finally:
            closing.cancel()

    async def _close_at(self, moment_ms: int, connection: ServerConnection) -> None:
        await asyncio.sleep((moment_ms - self._clock.now_ms()) / 1000)
        await close(connection, CLOSE_NOT_AUTHENTICATED, "the token has expired", self._limits)


def _only_our_path(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.partition("?")[0] == PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"The socket is at {PATH}.\n")


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    ours = Subprotocol(SUBPROTOCOL)
    return ours if ours in offered else None
