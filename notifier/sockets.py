"""The WebSocket server: `/ws`, subprotocol `maeari.v1`, one session a socket.

Guarantees: whoever may not connect is told by a close code (4401, 4403, 4400, 1013), not by silence; when
the server stops, every socket is closed with 1012, one after the other over some seconds, and cut off when
its client does not answer; when its token ends, a socket is closed with 4401.
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import NoReturn

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from backbone.background import keep_doing
from backbone.clock import Clock, SystemClock
from backbone.errors import Unavailable
from backbone.http import BACKLOG
from backbone.mailbox import Mailbox
from backbone.tokens import TokenVerifier
from notifier.feeds import Feeds
from notifier.handshake import PATH, Caller, Refused, check_origin, read_caller
from notifier.heartbeat import Heartbeat
from notifier.hub import Hub
from notifier.looks import Looks
from notifier.session import Session
from notifier.wire import Connection, Limits, Wire, close
from schemas.frames import CLOSE_NOT_AUTHENTICATED, CLOSE_RESTARTING, CLOSE_TOO_MANY, SUBPROTOCOL

# Few sockets are closed faster than `drain_s` has it.
_BETWEEN_CLOSES_S = 0.005
# What runs beside the sockets ends by a defect only, and is begun again.
_AGAIN_AFTER_S = 1.0

log = structlog.get_logger()


class SocketServer:
    """Listens, checks who connects, and runs the sessions."""

    def __init__(
        self,
        mailbox: Mailbox,
        hub: Hub,
        feeds: Feeds,
        allowed_origins: Sequence[str] = (),
        limits: Limits | None = None,
        verifier: TokenVerifier | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Without a verifier no token is asked for: `?user_id=` says who connects."""
        self._mailbox = mailbox
        self._hub = hub
        self._feeds = feeds
        self._allowed_origins = allowed_origins
        self._limits = limits or Limits()
        self._looks = Looks(mailbox, self._limits.page)
        self._verifier = verifier
        self._clock = clock or SystemClock()
        self._heartbeat = Heartbeat(self._limits.heartbeat_s)
        self._sockets_of: Counter[str] = Counter()
        self._expiring: set[asyncio.Task[None]] = set()
        self._beside: list[asyncio.Task[NoReturn]] = []
        self._server: Server | None = None
        self._closing = False

    @property
    def connections(self) -> Collection[ServerConnection]:
        """The sockets that are open."""
        return () if self._server is None else self._server.connections

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a socket that listens."""
        limits = self._limits
        self._server = await serve(
            self._serve,
            sock=listener,
            # Where everybody comes back at once they wait here: what finds no room tries again after seconds.
            backlog=BACKLOG,
            create_connection=Connection,
            process_request=_only_our_path,
            select_subprotocol=_select_subprotocol,
            compression=None,
            open_timeout=limits.handshake_timeout_s,
            # One loop beats for all.
            ping_interval=None,
            close_timeout=limits.close_timeout_s,
            max_size=limits.frame_bytes_max,
            max_queue=limits.frames_waiting_max,
            write_limit=limits.unsent_bytes_max,
            server_header=None,
        )
        self._beside = [
            asyncio.create_task(keep_doing("heartbeat", self._heartbeat.run, _AGAIN_AFTER_S)),
            asyncio.create_task(keep_doing("feeds", self._look, _AGAIN_AFTER_S)),
        ]

    async def _look(self) -> None:
        await self._feeds.keep_looking(self._limits.look_every_s)

    async def close(self) -> None:
        """Stop listening and close every socket with 1012, in no order, spread over some seconds."""
        if self._server is None:
            return
        self._closing = True
        self._server.close(close_connections=False)
        connections = list(self.connections)
        random.shuffle(connections)
        between_s = min(_BETWEEN_CLOSES_S, self._limits.drain_s / max(1, len(connections)))
        async with asyncio.TaskGroup() as closing:
            for connection in connections:
                closing.create_task(self._restart(connection))
                await asyncio.sleep(between_s)
        await self._server.wait_closed()
        await self._end_what_runs_beside()

    async def _end_what_runs_beside(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self._feeds.close()

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
        if self._sockets_of[caller.user_id] >= self._limits.sockets_of_user_max:
            await close(connection, CLOSE_TOO_MANY, "this user has too many sockets", self._limits)
            return
        _forget_handshake(connection)
        await self._run(connection, caller)

    async def _run(self, connection: ServerConnection, caller: Caller) -> None:
        assert isinstance(connection, Connection), "the server makes no others"
        self._heartbeat.add(connection)
        self._sockets_of[caller.user_id] += 1
        expiring = self._close_at_expiry(connection, caller)
        wire = Wire(connection, caller.user_id, self._limits)
        try:
            session = Session(wire, caller, self._mailbox, self._looks, self._hub, self._feeds, self._limits)
            await session.run()
        except (ConnectionClosed, TimeoutError):
            # The client went, or was too slow and was closed: both are its own affair.
            return
        finally:
            if expiring is not None:
                expiring.cancel()
            self._sockets_of[caller.user_id] -= 1
            if not self._sockets_of[caller.user_id]:
                del self._sockets_of[caller.user_id]

    async def _caller(self, connection: ServerConnection) -> Caller:
        """Return who connects. Raises Refused, Unavailable."""
        assert connection.request is not None, "the handshake is over"
        headers = connection.request.headers
        for origin in headers.get_all("Origin"):
            check_origin(origin, self._allowed_origins)
        return await read_caller(connection.request.path, headers, self._verifier)

    def _close_at_expiry(self, connection: ServerConnection, caller: Caller) -> asyncio.TimerHandle | None:
        """Close the socket when the caller's token ends, unless that is cancelled before."""
        if caller.expires_at_ms is None:
            return None
        left_s = (caller.expires_at_ms - self._clock.now_ms()) / 1000
        return asyncio.get_running_loop().call_later(left_s, self._expire, connection)

    def _expire(self, connection: ServerConnection) -> None:
        reason = "the token has expired"
        closing = asyncio.create_task(close(connection, CLOSE_NOT_AUTHENTICATED, reason, self._limits))
        self._expiring.add(closing)
        closing.add_done_callback(self._expiring.discard)


def _forget_handshake(connection: ServerConnection) -> None:
    """Let go of headers that nobody reads any more: the connection keeps what they stand in for its life."""
    for message in (connection.request, connection.response):
        if message is not None:
            message.headers.clear()


def _only_our_path(connection: ServerConnection, request: Request) -> Response | None:
    if request.path.partition("?")[0] == PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"The socket is at {PATH}.\n")


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    ours = Subprotocol(SUBPROTOCOL)
    return ours if ours in offered else None
