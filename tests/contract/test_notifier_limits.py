"""What sockets may cost, and how a node ends them: limits, heartbeats, draining."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backbone.database.engine import Database
from backbone.database.migrations import migrate
from bench.crowd import masked
from notifier.wire import Limits
from tests.support.sockets import Client, node
from tests.support.waiting import until

# More than the buffers of both kernels take.
MOST_SENT_BYTES = 64 * 1024 * 1024


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database in a file."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'database.sqlite3'}")
    await migrate(database)
    yield database
    await database.close()


async def test_sockets_of_a_user(database: Database) -> None:
    """One more than allowed is closed with 1013, the others stay; whoever goes leaves room."""
    async with node(database, limits=Limits(sockets_of_user_max=2)) as server:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                client = await stack.enter_async_context(server.connected("bora"))
                await client.hello()
            async with server.connected("bora") as third:
                assert await third.close_code() == 1013
            async with server.connected("chul") as other:
                await other.hello()

        async def gone() -> bool:
            return server.hub.users() == 0

        await until(gone)
        async with server.connected("bora") as again:
            await again.hello()


async def test_a_handshake_takes_no_longer_than_it_may(database: Database) -> None:
    """A connection that says nothing, or half a request, is ended."""
    async with node(database, limits=Limits(handshake_timeout_s=0.2)) as server:
        for said in (b"", b"GET /ws?user_id=bora HTTP/1.1\r\nHost: localhost\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()


async def test_a_silent_client_is_cut_off_and_one_that_answers_stays(database: Database) -> None:
    """Without an answer to pings a socket ends after two intervals; a client's ping is answered."""
    async with node(database, limits=Limits(heartbeat_s=1)) as server, server.connected("chul") as answering:
        assert (await answering.hello()).heartbeat_s == 1
        with await asyncio.to_thread(_connect, server.port) as silent:
            cut_off_s = await asyncio.to_thread(_until_end, silent)
        assert 1.5 < cut_off_s < 5
        pong = await answering.socket.ping()
        async with asyncio.timeout(5):
            await pong
        assert server.hub.users() == 1


async def test_answers_to_pings_do_not_pile_up(database: Database) -> None:
    """A client that pings for ever and reads nothing is read no further; once it reads, all goes on."""
    ping = masked(9, b"p" * 100)
    async with node(database, limits=Limits(heartbeat_s=60)) as server:
        with await asyncio.to_thread(_connect, server.port) as flooding:
            flooding.settimeout(1)
            sent = await asyncio.to_thread(_flood, flooding, ping * 1000)
            waits = server.unsent_bytes()
            assert waits < 1_000_000, f"{waits:,} bytes wait for it, of {sent:,} that it sent"
            assert sent < MOST_SENT_BYTES, "it was read on and on"
            async with server.connected("chul") as other:
                await other.hello()
            answered = await asyncio.to_thread(_read, flooding, sent // 2)
            assert answered >= sent // 2
        async with server.connected("dain") as another:
            await another.hello()


def _flood(raw: socket.socket, data: bytes) -> int:
    """Send for as long as there is room; return how many bytes."""
    sent = 0
    try:
        while sent < MOST_SENT_BYTES:
            sent += raw.send(data)
    except TimeoutError:
        pass
    return sent


def _read(raw: socket.socket, least: int) -> int:
    """Read so many bytes at the least, or what comes."""
    got = 0
    try:
        while got < least:
            got += len(raw.recv(65536))
    except TimeoutError:
        pass
    return got


def _connect(port: int) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    raw.sendall(
        b"GET /ws?user_id=bora HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return raw


def _until_end(raw: socket.socket) -> float:
    """Read until the other side ends; return after how many seconds."""
    began_s = time.monotonic()
    try:
        while raw.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began_s


async def test_a_stopping_node_closes_its_sockets_one_after_the_other(database: Database) -> None:
    """Everyone gets 1012, spread over the time that it takes, and nobody new is let in meanwhile."""
    closed_s: list[float] = []

    async def watch(client: Client) -> None:
        assert await client.close_code() == 1012
        closed_s.append(time.monotonic())

    stack = AsyncExitStack()
    async with node(database, limits=Limits(drain_s=0.5)) as server:
        watching = []
        for number in range(200):
            client = await stack.enter_async_context(server.connected(f"u{number}"))
            await client.hello()
            watching.append(asyncio.create_task(watch(client)))
        closing = asyncio.create_task(server.close())

        async def begun() -> bool:
            return bool(closed_s)

        await until(begun, every_s=0.001)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert len(closed_s) < 200
        await closing
    await asyncio.gather(*watching)
    await stack.aclose()
    assert 0.3 < max(closed_s) - min(closed_s) < 5
