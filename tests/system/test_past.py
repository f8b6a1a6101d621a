"""The commands of the past as people call them: rebuilds from the archive, the index of a moment, exports."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backbone.archive import Damaged, Missing
from backbone.settings import Settings, read_settings
from backbone.wiring import open_archive, open_ports
from schemas.clock import format_ms
from tests.conftest import ADAPTERS
from tests.support.archive import in_archive, in_log
from tests.support.waiting import until
from tests.system.platform import own_stores, system
from tests.system.processes import MAEARI, Surroundings

CHANNEL, AUTHOR = "배포", "지훈"
POSTS = 30


@dataclass
class Past:
    """Where the product has run and been stopped, what it answered then, and a moment in between."""

    surroundings: Surroundings
    settings: Settings
    moment: str
    then: list[dict[str, Any]]
    now: list[dict[str, Any]]

    async def export(self, *arguments: str) -> list[dict[str, Any]]:
        lines = await self.surroundings.run("export", "--channel", CHANNEL, *arguments)
        return [json.loads(line) for line in lines.splitlines()]


@pytest.fixture(params=ADAPTERS)
async def past(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> AsyncIterator[Past]:
    """Posts, edits and deletions in every store and in the archive; all processes have ended."""
    async with AsyncExitStack() as stack:
        chosen = {"LOG_FORMAT": "json", "ARCHIVE_MAX_AGE": "1"}
        if request.param == "real":
            real: Settings = request.getfixturevalue("real_settings")
            chosen |= await stack.enter_async_context(own_stores(real, unique))
        surroundings = Surroundings(tmp_path, chosen)
        settings = read_settings(surroundings.environment(), dotenv=None)
        async with AsyncExitStack() as running:
            await running.enter_async_context(system(surroundings))
            if request.param == "real":
                archiver = Surroundings(tmp_path, chosen)
                port = archiver.ports.indexer
                await running.enter_async_context(
                    archiver.running("archiver", probe=port, METRICS_PORT=str(port))
                )
            url = f"http://127.0.0.1:{settings.port}"
            client = await running.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20))
            past = await live(surroundings, settings, client)
            await archived(settings)
        yield past


async def live(surroundings: Surroundings, settings: Settings, client: httpx.AsyncClient) -> Past:
    """Post, edit and delete, with a moment in between; return what is answered of both times."""
    made = [await post(client, f"글 {number}") for number in range(POSTS)]
    for message_id in made[::4]:
        await edit(client, message_id, "고침")
    deleted = await client.delete(f"/messages/{made[1]}", headers=as_user())
    assert deleted.status_code == 204
    last = await edit(client, made[2], "마지막")
    moment = str(last["updated_at"])
    for message_id in made[::3]:
        await client.delete(f"/messages/{message_id}", headers=as_user())
    made.append(await post(client, "나중"))
    then, now = [await answers(client, made, time) for time in (moment, "2999-01-01T00:00:00Z")]
    return Past(surroundings, settings, moment, then, now)


def as_user() -> dict[bytes, bytes]:
    return {b"X-User-Id": AUTHOR.encode()}


async def post(client: httpx.AsyncClient, content: str) -> str:
    body = {"channel_id": CHANNEL, "author_id": AUTHOR, "content": content}
    return str((await client.post("/messages", json=body)).json()["message_id"])


async def edit(client: httpx.AsyncClient, message_id: str, content: str) -> dict[str, Any]:
    answer = await client.patch(f"/messages/{message_id}", json={"content": content}, headers=as_user())
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()
    return message


async def answers(client: httpx.AsyncClient, made: list[str], moment: str) -> list[dict[str, Any]]:
    found = [
        await client.get(f"/messages/{message_id}", params={"as_of": moment}, headers=as_user())
        for message_id in made
    ]
    return [answer.json() for answer in found if answer.status_code == 200]


async def archived(settings: Settings) -> None:
    """Return once the archive holds what the log holds."""
    async with open_ports(settings) as ports:
        storage = open_archive(settings.archive)

        async def complete() -> bool:
            with suppress(Missing, Damaged):
                return in_archive(storage, ports.eventlog) == await in_log(ports.eventlog)
            return False

        await until(complete, within_s=30, every_s=0.2)


async def test_rebuilds_from_the_archive(past: Past) -> None:
    """The index and the database are what they were; a file cut short is named, and nothing changes."""
    run = past.surroundings
    report = json.loads(await run.run("rebuild", "search", "--from", "archive", "--json"))
    assert (report["source"], report["outcome"], report["counts"]["messages"]) == (
        "archive",
        "swapped",
        len(past.now),
    )
    compared = json.loads(await run.run("rebuild", "database", "--from", "archive", "--compare", "--json"))
    assert (compared["outcome"], compared["counts"]["differing_rows"]) == ("compared", 0)
    file = next((past.settings.data / "archive").glob("*messages.created/*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    for target in ("search", "database"):
        code, output, _ = await run.attempt("rebuild", target, "--from", "archive")
        assert code == 1
        assert file.name in output.splitlines()[-1]
    async with open_ports(past.settings) as ports:
        assert await ports.search.current() == report["index"]


async def test_the_past(past: Past, tmp_path: Path) -> None:
    """Indices of a moment, exports, and what is interrupted on the way: each begins with all as it was."""
    await the_index_of_a_moment(past)
    await exports(past, tmp_path)
    await a_reader_that_has_enough(past)
    await ctrl_c_leaves_nothing_half_swapped(past)


async def the_index_of_a_moment(past: Past) -> None:
    """It holds what was alive then, is found under its own alias, and is dropped when that is asked for."""
    run = past.surroundings
    for source in ("events", "archive"):
        asked = ("rebuild", "search", "--as-of", past.moment, "--from", source)
        report = json.loads(await run.run(*asked, "--json"))
        assert (report["as_of"], report["counts"]["messages"]) == (past.moment, len(past.then))
        assert report["counts"]["deleted"] == sum("deleted_at" in each for each in past.then) == 1
    assert (await run.run(*asked)).endswith(f"alias {report['index'].rpartition('-')[0]}\n")
    assert (await run.run(*asked, "--drop")).startswith("dropped ")
    assert (await run.attempt(*asked, "--drop"))[0] == 1


async def exports(past: Past, tmp_path: Path) -> None:
    """From each source, of now and then, to stdout or a file: what the API answered."""
    for source in ("database", "events", "archive"):
        assert await past.export("--from", source) == past.now
        file = tmp_path / f"{source}.ndjson"
        assert await past.export("--from", source, "--as-of", past.moment, "--output", str(file)) == []
        assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == past.then


async def a_reader_that_has_enough(past: Past) -> None:
    """Given a pipe that is closed, the export ends without a word."""
    process = await asyncio.create_subprocess_exec(
        MAEARI, "export", "--channel", CHANNEL,
        cwd=past.surroundings.folder, env=past.surroundings.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    errors = (await process.stderr.read()).decode()
    assert await process.wait() == 0
    assert all(line.startswith("export: ") for line in errors.splitlines()), errors


async def ctrl_c_leaves_nothing_half_swapped(past: Past) -> None:
    """Given an interrupt as it reads, it is one line, and alias and indices are what they were."""
    async with open_ports(past.settings) as ports:
        before = (await ports.search.current(), await ports.search.indices())
        for more in ((), ("--as-of", past.moment)):
            process = await asyncio.create_subprocess_exec(
                MAEARI, "rebuild", "search", "--from", "archive", *more,
                cwd=past.surroundings.folder, env=past.surroundings.environment(),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            assert process.stderr is not None
            while b"read messages" not in await process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
            assert process.returncode == 130
            assert errors.decode().splitlines()[-1] == "maeari: interrupted"
            assert (await ports.search.current(), await ports.search.indices()) == before
    dropped = await past.surroundings.attempt("rebuild", "search", "--as-of", past.moment, "--drop")
    assert dropped[0] == 1, "an interrupted one leaves nothing to drop"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("rebuild database --as-of 2026-01-31T09:00:00Z", 2, "No such option '--as-of'"),
        ("rebuild notifications --as-of 2026-01-31T09:00:00Z", 2, "No such option '--as-of'"),
        ("rebuild search --as-of 2026-01-31T09:00+09:00 --from state", 2, "only events tell of the past"),
        ("rebuild search --as-of 2026-01-31T09:00:00Z --rollback", 2, "--rollback has no part in it"),
        ("rebuild search --as-of 2026-01-31T09:00:00Z --dry-run", 2, "--dry-run has no part in it"),
        ("rebuild search --as-of 2026-01-31T09:00:00", 2, "is no time with its offset"),
        ("rebuild search --as-of yesterday", 2, "is no time with its offset"),
        ("export --channel c --as-of 2999-01-01T00:00:00Z", 2, "lies in the future"),
        ("export --as-of 2026-01-31T09:00:00Z", 2, "Missing option '--channel'"),
        ("export --channel nowhere", 2, "`maeari migrate`"),
        ("rebuild search --from archive", 1, "holds no events: see MAEARI_ARCHIVE_URL"),
    ],
)
async def test_wrong_usage(tmp_path: Path, arguments: str, code: int, line: str) -> None:
    """It is one line, before anything is read."""
    answered, output, errors = await Surroundings(tmp_path).attempt(*arguments.split())
    assert (answered, output) == (code, "")
    assert line in errors
    assert len(errors.splitlines()) == 1, errors


def test_moments_are_read_as_the_api_reads_them() -> None:
    from maeari.moments import Moment  # noqa: PLC0415

    read = Moment().convert
    assert format_ms(read("2026-01-31T09:00+09:00", None, None)) == "2026-01-31T00:00:00.000Z"
    assert read("2026-01-31T09:00:00.5Z", None, None) == read("2026-01-31T18:00:00.500+09:00", None, None)
