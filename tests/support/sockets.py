"""Nodes that serve sockets, and clients that talk to them, for tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.http import bind
from backbone.mailbox import Mailbox
from backbone.streams import ends_of
from backbone.tokens import TokenVerifier
from notifier.feeds import Feeds
from notifier.hub import Hub
from notifier.sockets import SocketServer
from notifier.wire import Limits
from schemas.events import encode
from schemas.frames import (
    SUBPROTOCOL,
    Frame,
    Hello,
    NotificationFrame,
    Retracted,
    ServerFrame,
    Subscribe,
    Subscribed,
    decode_server_frame,
)
from tests.support.waiting import until

PATIENCE_S = 20
# Nobody looks at channels by itself: what a test hints at is all there is.
ONLY_HINTS = Limits(look_every_s=3600)
# A hint that was missed is made up for quickly.
LOOKING_OFTEN = Limits(look_every_s=0.02)


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

    async def subscribe(self, channel_id: str, after: int | None = None) -> int:
        """Subscribe to a channel; return after which event it begins."""
        await self.say(Subscribe(channel_id=channel_id, after_sequence=after))
        frame = await self.frame()
        assert isinstance(frame, Subscribed), frame
        assert frame.channel_id == channel_id
        return frame.sequence

    async def event(self) -> dict[str, Any]:
        """Return the next frame's event, as it is written."""
        async with asyncio.timeout(PATIENCE_S):
            frame = json.loads(await self.socket.recv())
        assert frame["type"] == "event", frame
        event: dict[str, Any] = frame["event"]
        return event

    async def events(self, count: int) -> list[dict[str, Any]]:
        """Return the events of the next frames; no other frame may come between."""
        return [await self.event() for _ in range(count)]

    async def sequences(self, count: int) -> list[int]:
        """Return the numbers of the next events."""
        return [event["sequence"] for event in await self.events(count)]

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

    def __init__(
        self, database: Database, hub: Hub, feeds: Feeds, port: int, server: SocketServer | None = None
    ) -> None:
        self.database = database
        self._server = server
        self.hub = hub
        self.feeds = feeds
        self.port = port

    async def live(self, channel_id: str, number: int) -> None:
        """Wait until so many subscriptions have caught up with the channel."""

        async def so_many() -> bool:
            return self.feeds.live(channel_id) == number

        await until(so_many, every_s=0.005)

    async def hint(self, *channel_ids: str) -> None:
        """Say that the channels may have news, as the tail does."""
        for channel_id, end in (await ends_of(self.database, channel_ids)).items():
            self.feeds.hint(channel_id, end)

    async def close(self) -> None:
        """Stop, as the process does on SIGTERM."""
        assert self._server is not None, "a node that runs in the test"
        await self._server.close()

    def unsent_bytes(self) -> int:
        """Return how much waits in this process for clients to take it in."""
        assert self._server is not None, "a node that runs in the test"
        return sum(each.transport.get_write_buffer_size() for each in self._server.connections)

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
            # A client that is full does not hear the answer to its close, and waits for it.
            max_queue=None,
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
    hub, feeds = Hub(), Feeds(database)
    mailbox = mailbox or Mailbox(database, SystemClock())
    server = SocketServer(mailbox, hub, feeds, limits=limits, verifier=verifier)
    with bind("127.0.0.1", 0, "MAEARI_WEBSOCKET_PORT") as listener:
        await server.start(listener)
        try:
            yield Node(database, hub, feeds, listener.getsockname()[1], server)
        finally:
            await server.close()
