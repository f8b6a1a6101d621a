"""One HTTP connection over a real socket: who is refused and cut off, and that the patient are served."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backbone.http import bind, serve_http
from backbone.http_connection import HEAD_MAX_BYTES, LimitedConnection
from backbone.probes import Receive, Scope, Send, answer_with

# More than the buffers of a socket and its peer hold.
BIG_BYTES = 50_000_000

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the body; with a path that starts with /big, far more instead."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await answer_with(send, 200, "text/plain", b"x" * BIG_BYTES if scope["path"] == "/big" else body)


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server whose patience is a quarter of a second."""
    for name in ("head_within_s", "body_within_s", "write_within_s"):
        monkeypatch.setattr(LimitedConnection, name, 0.25)
    listener = bind("127.0.0.1", 0, "MAEARI_PORT")
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_http(echo, listener, stop))
    yield listener.getsockname()[1]
    stop.set()
    await serving


async def sent(port: int, *parts: bytes) -> Streams:
    """Connect and send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    return reader, writer


async def to_the_end(streams: Streams) -> bytes:
    """Return everything that comes until the server closes."""
    reader, writer = streams
    async with asyncio.timeout(10):
        everything = await reader.read()
    writer.close()
    return everything


def problem(answer: bytes) -> dict[str, Any]:
    """Return the problem document of an answer that ends its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert f"content-length: {len(body)}".encode() in head
    document: dict[str, Any] = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {document['status']} {document['title']}\r\n".encode())
    return document


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * HEAD_MAX_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * 4 * HEAD_MAX_BYTES, 431),
        (b"GET /" + b"x" * HEAD_MAX_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431),
        (b"GET / HT", 408),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", 408),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nxxx", 408),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxxx\r\n", 408),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_request_that_is_wrong_or_too_slow_is_refused(
    port: int, request_: bytes, status: int
) -> None:
    """Each gets one problem document, and the connection ends."""
    assert problem(await to_the_end(await sent(port, request_)))["status"] == status


async def test_connect_is_refused(port: int) -> None:
    """We are no proxy: a request whose target no URL can be is answered as any that is no HTTP."""
    answer = await to_the_end(await sent(port, b"CONNECT x:443 HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"/problems/malformed-request" in answer


async def test_a_drip_of_bytes_is_too_slow(port: int) -> None:
    """Bytes that keep coming do not put the end off."""
    reader, writer = await sent(port, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    answer = await to_the_end((reader, writer))
    dripping.cancel()
    assert problem(answer)["status"] == 408


@pytest.mark.parametrize("silence", [b"", b"\r\n"])
async def test_a_connection_that_asks_nothing_is_closed(port: int, silence: bytes) -> None:
    """Without a request there is nothing to answer."""
    assert await to_the_end(await sent(port, silence)) == b""


async def test_an_answer_that_nobody_reads_is_given_up(port: int) -> None:
    """A client that asks and does not read loses its connection, and what it had not taken of the answer."""
    reader, writer = await sent(port, b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(1)
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len(await to_the_end((reader, writer))) < BIG_BYTES


async def test_patient_requests_are_served(port: int) -> None:
    """One after another on a connection, in pieces, and in a pipeline, with pauses between that are short."""
    whole = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    reader, writer = await sent(port, whole[:20])
    await asyncio.sleep(0.1)
    writer.write(whole[20:-1])
    await asyncio.sleep(0.1)
    writer.write(whole[-1:] + whole + whole)
    for _ in range(3):
        assert (await reader.readuntil(b"\r\n\r\nabc")).startswith(b"HTTP/1.1 200 ")
    await asyncio.sleep(0.5)
    writer.write(whole)
    assert (await reader.readuntil(b"\r\n\r\nabc")).startswith(b"HTTP/1.1 200 ")
    writer.close()
