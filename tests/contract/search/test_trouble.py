"""The search port in trouble: every failure is one line, in bounded time, and nothing half-written."""

import asyncio
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backbone.errors import SetupError, Unavailable
from backbone.search import SearchQuery, elasticsearch
from backbone.settings import Settings
from backbone.wiring import open_search
from tests.support.search import ids, search_site


async def test_a_wrong_address_is_unavailable_at_once(real_settings: Settings) -> None:
    """Nobody listens there: the error names the address, and no credentials."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    search = open_search(replace(real_settings, search_url=f"http://user:pass@127.0.0.1:{port}"))
    try:
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable, match=f"http://127.0.0.1:{port}") as caught:
                await search.ensure()
        assert "pass" not in str(caught.value)
    finally:
        await search.close()


async def test_another_server_at_the_address_is_named(real_settings: Settings) -> None:
    """What answers is not Elasticsearch: one line says so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    search = open_search(replace(real_settings, search_url=f"http://127.0.0.1:{port}"))
    try:
        with pytest.raises(Unavailable, match="not Elasticsearch"):
            await search.ensure()
    finally:
        await search.close()
        server.close()


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_a_server_that_refuses_is_unavailable(real_settings: Settings, status: int) -> None:
    """Credentials, rights, too much work, not ready: try again later, and say what it was."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = (
            b'{"error":{"type":"some_exception","reason":"the reason","root_cause":[]},"status":%d}' % status
        )
        writer.write(
            b"HTTP/1.1 %d X\r\nX-Elastic-Product: Elasticsearch\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    search = open_search(replace(real_settings, search_url=f"http://127.0.0.1:{port}"))
    try:
        with pytest.raises(Unavailable, match="MAEARI_SEARCH_API_KEY" if status == 401 else "the reason"):
            await search.current()
    finally:
        await search.close()
        server.close()


async def test_a_server_that_never_answers_is_unavailable_in_time(
    real_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing: the call ends with the time-out."""
    monkeypatch.setattr(elasticsearch, "REQUEST_TIMEOUT_S", 0.3)
    over = asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    search = open_search(replace(real_settings, search_url=f"http://127.0.0.1:{port}"))
    try:
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable, match="no answer in time"):
                await search.ensure()
    finally:
        over.set()
        await search.close()
        server.close()


_WRITES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from backbone.search.embedded import EmbeddedSearchIndex
from tests.support.search import document

async def main():
    search = EmbeddedSearchIndex(Path(sys.argv[1]), sys.argv[2])
    await search.ensure()
    for version in range(int(sys.argv[3]), 1_000_000):
        await search.put([document(n, f"판{version} 배포", version=version) for n in range(20)])
        print(version, flush=True)

asyncio.run(main())
"""


async def test_a_killed_writer_leaves_whole_batches(embedded_settings: Settings) -> None:
    """Given a process killed in the midst of writing, what it put is there, and words fit documents."""
    path, alias = embedded_settings.search_url.removeprefix("embedded:"), embedded_settings.search_alias
    for first in (1, 10_000, 20_000):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITES_FOR_EVER, path, alias, str(first), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        done = [await writer.stdout.readline() for _ in range(5)]
        writer.kill()
        done += (await writer.stdout.read()).splitlines()
        await writer.wait()
        async with search_site(embedded_settings) as site:
            search = site.open()
            (version,) = {found.document.version async for found in search.scan()}
            assert version >= int(done[-1])
            assert len(await ids(search, SearchQuery(words=(f"판{version}",)))) == 20
            assert len(await ids(search, SearchQuery(words=("배포",)))) == 20


async def test_an_unusable_file_is_a_setup_error(embedded_settings: Settings, tmp_path: Path) -> None:
    """A folder that cannot be made, and a file that is no database: one line names the file."""
    (tmp_path / "file").write_text("no database " * 1000)
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        search = open_search(replace(embedded_settings, search_url=f"embedded:{path}"))
        with pytest.raises(SetupError, match=f"{path} ") as caught:
            await search.ensure()
        assert "\n" not in str(caught.value)
        if path.is_file():
            assert "move it away, then run `maeari rebuild search`" in str(caught.value)
        await search.close()
