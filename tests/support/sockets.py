"""Nodes that serve sockets, and clients that talk to them, for tests."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from backbone.channel_stream import ChannelStream
from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.http import bind
from backbone.mailbox import Mailbox
from backbone.tokens import TokenVerifier
from notifier.hub import Hub
from notifier.session import Limits
from notifier.sockets import SocketServer
from schemas.events import encode
from schemas.frames import (
    SUBPROTOCOL,
    Frame,
    Hello,
    NotificationFrame,
    Retracted,
    ServerFrame,
    decode_server_frame,
)

PATIENCE_S = 20


class Client:
    """One connected socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def frame(self) -> ServerFrame:
        """Return the next frame."""
        async with asyncio.timeout(PATIENCE_S):
            data = await self.socket.recv()
        assert isinstance(data, str), "frames are text"
        return decode_server_frame(data)

    async def hello(self) -> Hello:
        """Return the next frame, which is the hello."""
        frame = await self.frame()
        assert isinstance(frame, Hello)
        return frame

    async def entries(self, count: int) -> list[NotificationFrame | Retracted]:
        """Return the next entries of the inbox; no other frame may come between."""
        frames = [await self.frame() for _ in range(count)]
        assert all(isinstance(frame, NotificationFrame | Retracted) for frame in frames), frames
        return [frame for frame in frames if isinstance(frame, NotificationFrame | Retracted)]

    async def seqs(self, count: int) -> list[int]:
        """Return the numbers of the next entries."""
        return [entry.seq for entry in await self.entries(count)]

    async def say(self, frame: Frame | str | bytes) -> None:
        """Send a frame; bytes go as a binary one."""
        await self.socket.send(encode(frame).decode() if isinstance(frame, Frame) else frame)

    async def close_code(self) -> int | None:
        """Wait for the server to close; return its code."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed:
                return self.socket.close_code


class Node:
    """A node that serves sockets from one database."""

    def __init__(self, database: Database, hub: Hub, port: int) -> None:
        self.database = database
        self.hub = hub
        self.port = port

    @asynccontextmanager
    async def connected(
        self,
        user_id: str | None,
        after: int | str | None = None,
        *,
        query: str | None = None,
        path: str = "/ws",
        origin: str | None = None,
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (SUBPROTOCOL,),
    ) -> AsyncIterator[Client]:
        """Connect as a user; `query` stands for the whole query when given."""
        if query is None:
            query = "" if user_id is None else f"user_id={quote(user_id, safe='')}"
            query += "" if after is None else f"&after={after}"
        async with connect(
            f"ws://127.0.0.1:{self.port}{path}?{query}",
            subprotocols=[Subprotocol(each) for each in subprotocols] or None,
            additional_headers={**(headers or {}), **({} if origin is None else {"Origin": origin})},
            proxy=None,
        ) as socket:
            yield Client(socket)


@asynccontextmanager
async def node(
    database: Database,
    *,
    mailbox: Mailbox | None = None,
    limits: Limits | None = None,
    verifier: TokenVerifier | None = None,
) -> AsyncIterator[Node]:
    """Serve sockets on a free port."""
    hub = Hub()
    server = SocketServer(
        mailbox or Mailbox(database, SystemClock()),
        ChannelStream(database),
        hub,
        limits=limits,
        verifier=verifier,
    )
    with bind("127.0.0.1", 0, "MAEARI_WEBSOCKET_PORT") as listener:
        await server.start(listener)
        try:
            yield Node(database, hub, listener.getsockname()[1])
        finally:
            await server.close()
