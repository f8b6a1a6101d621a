"""A TCP link between a client and a server that can be slowed, cut and made to swallow all that is sent."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

_CHUNK_BYTES = 16 * 1024


class Link:
    """Passes bytes on, both ways, to a server of this machine; how may change at any moment."""

    def __init__(self, upstream_port: int) -> None:
        self.delay_s = 0.0
        """How long each chunk takes, each way: latency, and a limit of 16 KiB in that time."""
        self.cuts = 0
        """How many connections were cut."""
        self.swallowed_bytes = 0
        self._passing = asyncio.Event()
        self._passing.set()
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    @classmethod
    @asynccontextmanager
    async def to(cls, upstream_port: int, port: int = 0) -> AsyncIterator[Self]:
        """Run a link to the server at a port; it listens at any port, or at the one given."""
        link = cls(upstream_port)
        link._server = await asyncio.start_server(link._accepted, "127.0.0.1", port)
        try:
            yield link
        finally:
            link._server.close()
            link.cut()
            await asyncio.gather(*link._connections, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Reset all connections; new ones are let through."""
        for task, writers in self._connections.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()
            self.cuts += 1

    def swallow(self) -> None:
        """Keep connections open, and new ones too, and pass nothing on any more, as a dead cable would."""
        self._passing.clear()

    def mend(self) -> None:
        """Pass on at once; what was swallowed is lost with its connection."""
        self.delay_s = 0.0
        if not self._passing.is_set():
            self.cut()
            self._passing.set()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections[task] = [writer]
        task.add_done_callback(self._connections.pop)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            await self._passing.wait()
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            task = asyncio.current_task()
            assert task is not None
            self._connections[task].append(to_server)
            try:
                await _first_done(
                    self._pass_on(from_client, to_server), self._pass_on(from_server, to_client)
                )
            finally:
                to_server.transport.abort()
        except OSError:
            pass  # the server is not there: the client is told by the end of its connection
        finally:
            to_client.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if not self._passing.is_set():
                    self.swallowed_bytes += len(data)
                    continue
                writer.write(data)
                await writer.drain()


async def _first_done(*directions: Coroutine[Any, Any, None]) -> None:
    """Return when either direction has ended; the other is ended too."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
