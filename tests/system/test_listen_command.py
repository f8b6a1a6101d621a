"""`maeari listen`, run as its users run it: it goes on where it was, and says when it is refused."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import until
from tests.system.processes import MAEARI, Surroundings

PATIENCE_S = 30
SECRET = "a secret of more than thirty-two bytes"


@asynccontextmanager
async def listening(surroundings: Surroundings, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run the command; yield what it prints. It must not end by itself."""
    with (surroundings.folder / "listen.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            MAEARI,
            "listen",
            *arguments,
            cwd=surroundings.folder,
            env=surroundings.environment(),
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        yield process.stdout
        assert process.returncode is None, "it ended by itself"
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 143, "ended by SIGTERM"


async def post(client: httpx.AsyncClient, content: str) -> str:
    """Mention 영희 in a message; return its id."""
    body = {"channel_id": "개발", "author_id": "철수", "content": content, "mentions": ["영희"]}
    answer = await client.post("/messages", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["message_id"])


async def line(printed: asyncio.StreamReader) -> str:
    return (await asyncio.wait_for(printed.readline(), PATIENCE_S)).decode()


async def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Through the node's restart nothing is lost and nothing comes twice; texts are but text."""
    surroundings = Surroundings(tmp_path)
    ports = surroundings.ports
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.api}") as client,
        listening(surroundings, "--user", "영희", "--after", "0") as printed,
    ):
        async with surroundings.running("dev", probe=ports.api):
            await post(client, "배포를 완료했습니다.")
            assert await line(printed) == "1 새 멘션 배포를 완료했습니다.\n"
        async with surroundings.running("dev", probe=ports.api):
            message_id = await post(client, "두\n줄 \x1b[2J")
            assert await line(printed) == "2 새 멘션 두\\n줄 \\x1b[2J\n"
            await client.delete(f"/messages/{message_id}", headers={b"X-User-Id": "철수".encode()})
            assert (await line(printed)).startswith("3 retracted ntf_")
            async with listening(surroundings, "--user", "영희", "--after", "1") as later:
                assert (await line(later)).startswith("3 retracted ntf_"), "the text of 2 is gone"
    assert "trying again" in (tmp_path / "listen.log").read_text(encoding="utf-8")


async def test_without_a_number_it_begins_with_what_is_new(tmp_path: Path) -> None:
    """What lay in the inbox before it was started is not printed."""
    surroundings = Surroundings(tmp_path)
    api = f"http://127.0.0.1:{surroundings.ports.api}"
    async with (
        surroundings.running("dev", probe=surroundings.ports.api),
        httpx.AsyncClient(base_url=api) as client,
    ):
        await post(client, "먼저")

        async def stored() -> bool:
            answer = await client.get("/notifications", headers={b"X-User-Id": "영희".encode()})
            return len(answer.json()) == 1

        await until(stored, PATIENCE_S)

        async def connected() -> bool:
            return "listening from 1 on" in (tmp_path / "listen.log").read_text(encoding="utf-8")

        async with listening(surroundings, "--user", "영희") as printed:
            await until(connected, PATIENCE_S)
            await post(client, "나중")
            assert await line(printed) == "2 새 멘션 나중\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--user", "u" * 129), "refused (4401)"),
        (("--user", "영희", "--token", "nonsense"), "refused (4401)"),
        (("--user", "영희", "--url", "http://127.0.0.1:1/ws"), "--url"),
    ],
    ids=["user", "token", "url"],
)
async def test_a_refusal_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Where it would be refused again it does not try again: exit code 2, and why."""
    with_tokens = {"AUTH": "jwt", "JWT_SECRET": SECRET} if "--token" in arguments else {}
    surroundings = Surroundings(tmp_path, with_tokens)
    async with surroundings.running("dev", probe=surroundings.ports.api):
        code, output, errors = await surroundings.attempt("listen", *arguments)
    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith("maeari: ")
    assert said in errors
