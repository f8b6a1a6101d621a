"""README's listener, run as a reader of it would, beside `maeari dev`."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.system.processes import Surroundings

LISTEN = Path(__file__).parents[2] / "examples" / "listen.py"
PATIENCE_S = 20


@asynccontextmanager
async def listener(*arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run the example; yield what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        LISTEN,
        *arguments,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield process.stdout
        assert process.returncode is None, "the listener ended by itself"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_prints_each_notification_once(tmp_path: Path) -> None:
    """A mention is printed as it arrives; after the server's restart it goes on behind the last one."""
    surroundings = Surroundings(tmp_path)
    ports = surroundings.ports
    async with (
        listener("영희", f"ws://127.0.0.1:{ports.sockets}/ws") as printed,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.api}") as client,
        asyncio.timeout(120),
    ):
        for number, content in enumerate(("배포를 완료했습니다.", "Deployed again."), 1):
            async with surroundings.running("dev", probe=ports.api):
                message = {"channel_id": "개발", "author_id": "철수", "content": content}
                answer = await client.post("/messages", json={**message, "mentions": ["영희"]})
                assert answer.status_code == 201, answer.text
                line = await asyncio.wait_for(printed.readline(), PATIENCE_S)
                assert line.decode() == f"{number} 새 멘션 {content}\n"


async def test_it_tries_again_whatever_cuts_a_handshake_short(unused_tcp_port: int) -> None:
    """Given a server that closes, answers 502 or nonsense, the listener comes again each time."""
    answers = [b"", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n"]
    came = asyncio.Semaphore(0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.release()
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0) if answers else b"")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", unused_tcp_port)
    async with server, listener("bora", f"ws://127.0.0.1:{unused_tcp_port}/ws"), asyncio.timeout(PATIENCE_S):
        for _ in range(4):
            await came.acquire()
