"""A WebSocket of each user, open during the whole scenario, that writes down what it gets."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.waiting import until
from tests.system.fold import Json


class Listener:
    """One user's socket; `frames` is everything received, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.frames: list[Json] = []
        self._socket = socket

    async def listen(self) -> None:
        """Receive until the socket is closed."""
        async for data in self._socket:
            assert isinstance(data, str), "frames are text"
            self.frames.append(json.loads(data))

    async def received(self, number: int) -> None:
        """Wait until that many frames came; which they are is checked by others."""

        async def enough() -> bool:
            return len(self.frames) >= number

        await until(enough, within_s=20)


@asynccontextmanager
async def listening(port: int, users: Sequence[str]) -> AsyncIterator[dict[str, Listener]]:
    """Connect every user and yield their listeners, each of which has had its hello."""
    async with AsyncExitStack() as stack:
        listeners: dict[str, Listener] = {}
        tasks = await stack.enter_async_context(_cancelled_at_the_end())
        for user_id in users:
            socket = await stack.enter_async_context(
                connect(
                    f"ws://127.0.0.1:{port}/ws?user_id={quote(user_id)}",
                    subprotocols=[Subprotocol("maeari.v1")],
                    proxy=None,
                )
            )
            assert socket.subprotocol == "maeari.v1"
            listeners[user_id] = Listener(socket)
            tasks.append(asyncio.create_task(listeners[user_id].listen()))
        for listener in listeners.values():
            await listener.received(1)
        yield listeners


@asynccontextmanager
async def _cancelled_at_the_end() -> AsyncIterator[list["asyncio.Task[None]"]]:
    tasks: list[asyncio.Task[None]] = []
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
