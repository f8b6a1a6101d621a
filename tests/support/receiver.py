"""A receiver of webhooks: an HTTP server that remembers what came, and does with it what the test says."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass(frozen=True)
class Received:
    """One request, whatever became of it."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def push_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded

    @property
    def user_id(self) -> str:
        return str(self.json["data"]["user_id"])

    @property
    def seq(self) -> int:
        return int(self.json["data"]["seq"])

    @property
    def text(self) -> str | None:
        text: str | None = self.json["data"]["body"]
        return text

    def signed_with(self, key: bytes) -> bool:
        """Check the signature as the specification tells receivers to, with nothing of the sender's code."""
        signed = f"{self.push_id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


@dataclass(frozen=True)
class Reply:
    """What is answered; `hangs`: nothing, ever; `cut`: the connection ends without an answer."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    cut: bool = False


OK = Reply()


class Receiver:
    """Remembers all requests, and those that it took; `then` decides, and may be changed at any time."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Received] = []
        self.taken: list[Received] = []
        self.then: Callable[[Received], Reply] = lambda _received: OK

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?key=of-the-receiver"

    def of(self, user_id: str) -> list[Received]:
        """Return what was taken of a user's."""
        return [each for each in self.taken if each.user_id == user_id]

    def seqs(self, user_id: str) -> list[int]:
        """Return the numbers of what was taken of a user's, as they came."""
        return [each.seq for each in self.of(user_id)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert head[0] == "POST /hooks?key=of-the-receiver HTTP/1.1", head[0]
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        received = Received(headers, await reader.readexactly(int(headers["content-length"])))
        reply = self.then(received)
        self.requests.append(received)
        if reply.hangs:
            await reader.read()
            return False
        if reply.cut:
            return False
        if 200 <= reply.status < 300:
            self.taken.append(received)
        lines = [
            f"HTTP/1.1 {reply.status} Whatever",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if reply.status != 204:
            lines.append("content-length: 0")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        return True


@asynccontextmanager
async def listening(receiver: Receiver, port: int = 0) -> AsyncIterator[Receiver]:
    """Have the receiver listen while the block lasts; afterwards nobody answers at its port."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        connections.add(task)
        await receiver.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port or receiver.port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
