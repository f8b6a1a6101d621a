"""A TCP proxy before PostgreSQL that cuts connections at chosen moments: just before a COMMIT, behind it, …

It reads no more of the protocol than frames: a byte of type, four of length. Everything that is not to
be cut passes as it is. TLS is declined, so that frames can be read.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from typing import Self

from sqlalchemy.engine import URL, make_url

_SSL_REQUEST = b"\x04\xd2\x16\x2f"


class Fate(Enum):
    """What becomes of a COMMIT; the client's connection is cut in each case."""

    STORED = auto()  # the server commits, and its answer is lost
    LOST = auto()  # the server never gets it
    LATE = auto()  # the server gets it when the test says so, long after the client has gone on


class PostgresProxy:
    """Fates are met by the next COMMITs, in turn; `cut_at` cuts at the next statement that holds the text."""

    def __init__(self, upstream: URL) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.fates: deque[Fate] = deque()
        self.statements_to_cut: deque[str] = deque()
        self.met: list[Fate | str] = []
        """What was done until now, in order."""
        self.let_late_through = asyncio.Event()
        self.refuses_after_a_cut = False
        """Whether, once a connection was cut, no other is let through."""

    @classmethod
    @asynccontextmanager
    async def before(cls, database_url: str) -> AsyncIterator[Self]:
        """Run a proxy before the server that the URL names."""
        proxy = cls(make_url(database_url))
        proxy._server = await asyncio.start_server(proxy._accepted, "127.0.0.1", 0)
        try:
            yield proxy
        finally:
            proxy._server.close()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The URL of the same database, through the proxy."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return self._upstream.set(host=host, port=port).render_as_string(hide_password=False)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses_after_a_cut and self.met:
            writer.close()
            return
        connection = await asyncio.open_connection(self._upstream.host, self._upstream.port)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await _Session(self, reader, writer, *connection).run()


class _Session:
    """One client's connection and the server's."""

    def __init__(
        self,
        proxy: PostgresProxy,
        from_client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = from_client, to_client
        self._from_server, self._to_server = from_server, to_server
        self._statements: dict[bytes, str] = {}

    async def run(self) -> None:
        """Pass frames on until a side ends, or the connection is cut."""
        answering: asyncio.Task[None] | None = None
        try:
            self._to_server.write(await self._first_message())
            answering = asyncio.create_task(self._answer())
            while True:
                frame = await _frame(self._from_client)
                if cut := self._to_be_cut(frame):
                    answering.cancel()
                    await self._cut(cut, frame)
                    return
                self._to_server.write(frame)
                await self._to_server.drain()
        finally:
            if answering is not None:
                answering.cancel()
            self._to_client.close()
            self._to_server.close()

    async def _first_message(self) -> bytes:
        """Return the message that begins a connection, which has no type; TLS is declined before."""
        while True:
            length = await self._from_client.readexactly(4)
            body = await self._from_client.readexactly(int.from_bytes(length) - 4)
            if body != _SSL_REQUEST:
                return length + body
            self._to_client.write(b"N")

    async def _answer(self) -> None:
        with suppress(ConnectionError):
            while data := await self._from_server.read(65_536):
                self._to_client.write(data)
                await self._to_client.drain()
        self._to_client.close()

    def _to_be_cut(self, frame: bytes) -> Fate | str | None:
        """Say what is to become of the frame; None: it passes."""
        kind, body = frame[:1], frame[5:]
        if kind == b"Q":
            commits = body.upper().startswith(b"COMMIT")
            return self._proxy.fates.popleft() if commits and self._proxy.fates else None
        name = b""
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._statements[name] = text.decode()
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
        waiting = self._proxy.statements_to_cut
        # Before its execution, not its preparation: the rows of this statement are on their way then.
        if kind == b"B" and waiting and waiting[0] in self._statements.get(name, ""):
            return waiting.popleft()
        return None

    async def _cut(self, cut: Fate | str, frame: bytes) -> None:
        self._proxy.met.append(cut)
        if cut is Fate.STORED:
            self._to_server.write(frame)
            while (await _frame(self._from_server))[:1] != b"Z":
                pass
        self._to_client.close()
        if cut is Fate.LATE:
            await self._proxy.let_late_through.wait()
            self._to_server.write(frame)
            while (await _frame(self._from_server))[:1] != b"Z":
                pass


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """Read one frame. Raises IncompleteReadError at the end of the connection."""
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
