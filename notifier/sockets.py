"""The WebSocket server: `/ws`, subprotocol `maeari.v1`, one session a socket.

Guarantees: whoever may not connect is told by a close code (4401, 4403, 4400), not by silence; when
the server stops, every socket is closed with 1012, and cut off when its client does not answer.
"""

import asyncio
import socket
from collections.abc import Sequence
from http import HTTPStatus

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from notifier.handshake import PATH, Refused, check_origin, read_caller
from notifier.hub import Hub
from notifier.mailbox import Mailbox
from notifier.session import Limits, Session, close
from schemas.frames import CLOSE_RESTARTING, SUBPROTOCOL

log = structlog.get_logger()


class SocketServer:
    """Listens, checks who connects, and runs the sessions."""

    def __init__(
        self, mailbox: Mailbox, hub: Hub, allowed_origins: Sequence[str] = (), limits: Limits | None = None
    ) -> None:
        self._mailbox = mailbox
        self._hub = hub
        self._allowed_origins = allowed_origins
        self._limits = limits or Limits()
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
        assert connection.request is not None, "the handshake is over"
        if self._closing:
            await self._restart(connection)
            return
        try:
            for origin in connection.request.headers.get_all("Origin"):
                check_origin(origin, self._allowed_origins)
            caller = read_caller(connection.request.path)
        except Refused as refused:
            log.info("socket_refused", code=refused.code, reason=refused.reason)
            await close(connection, refused.code, refused.reason, self._limits)
            return
        try:
            await Session(connection, caller, self._mailbox, self._hub, self._limits).run()
        except (ConnectionClosed, TimeoutError):
            # The client went, or was too slow and was closed: both are its own affair.
            return


def _only_our_path(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.partition("?")[0] == PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"The socket is at {PATH}.\n")


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    ours = Subprotocol(SUBPROTOCOL)
    return ours if ours in offered else None
