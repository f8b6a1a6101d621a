"""The work behind `maeari rebuild`: what it prints and answers, and that there is one of it at a time."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from backbone.database.engine import Database
from backbone.errors import SetupError, Unavailable
from backbone.eventlog import NewRecord
from backbone.settings import Settings
from backbone.wiring import open_ports
from rebuilder.search import target
from rebuilder.search.command import run
from rebuilder.search.ways import Ways
from rebuilder.sole import as_the_only_one
from tests.conftest import ADAPTERS
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.histories import Platform, history
from tests.support.search import dropped_indices
from tests.support.waiting import until


@pytest.fixture(params=ADAPTERS)
async def settings(
    request: pytest.FixtureRequest, unique: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Settings]:
    """Settings of a platform with some messages in its log, indexed."""
    monkeypatch.setattr(target, "DROP_GRACE_S", 0.0)
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(chosen, unique) as own, dropped_topics(own), dropped_indices(own):
        await fill(own)
        yield own


async def fill(settings: Settings) -> None:
    async with open_ports(settings) as ports:
        platform = Platform(ports.eventlog, ports.search)
        await platform.set_up()
        await platform.tell(history(1, messages=10).events)
        await platform.index_everything()


async def test_it_tells_people_what_it_did(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(settings, Ways()) == 0
    output = capsys.readouterr()
    alias = settings.search_alias
    assert output.out.splitlines()[-1] == f"swapped {alias}-1 for {alias}-2, kept {alias}-1 for --rollback"
    assert "read messages.state: " in output.err, "progress goes elsewhere, as plain lines"


async def test_its_json_is_all_that_is_on_stdout(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(settings, Ways(source="events", compare=True), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["target"], report["source"], report["outcome"]) == ("search", "events", "dry run")
    assert sum(report["offsets"]["messages.created"]) == 10


async def test_a_refusal_is_exit_code_1_and_one_line(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_ports(settings) as ports:
        garbage = NewRecord("messages.created", "c", "c", b"{}")
        await Platform(ports.eventlog, ports.search).append(garbage)
    assert await run(settings, Ways(), as_json=True) == 1
    output = capsys.readouterr()
    assert json.loads(output.out.splitlines()[-1])["problems"][0]["topic"] == "messages.created"
    last = output.err.splitlines()[-1]
    assert last == (
        "maeari: rebuild search refused: records that cannot be read or applied: 1;"
        " with --from state they are not read; --skip-poison leaves them out"
    )
    assert await run(settings, Ways(skip_poison=True)) == 0
    assert "  messages.created/" in capsys.readouterr().out


async def test_it_goes_back_and_says_so(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing before: one line and exit code 1. After a rebuild: back, and the report says what was done."""
    alias = settings.search_alias
    assert await run(settings, Ways(rollback=True)) == 1
    output = capsys.readouterr()
    line = "maeari: there is no index to go back to: the last rebuild kept none"
    assert (output.out, output.err.splitlines()[-1]) == ("", line)
    assert await run(settings, Ways()) == 0
    assert await run(settings, Ways(rollback=True), as_json=True) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["rollback"], report["index"], report["kept"]) == (True, f"{alias}-1", f"{alias}-2")
    assert 0 <= report["held_s"] < 8
    with pytest.raises(SetupError, match="--rollback has no part in it"):
        await run(settings, Ways(compare=True, rollback=True))
    with pytest.raises(SetupError, match="--drop has no part in it"):
        await run(settings, Ways(compare=True, drop=True))


async def test_a_second_rebuild_is_told_to_wait(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a rebuild under way, another one changes nothing and says so in one line; afterwards it may."""
    database = Database(settings.database_url)
    release, working = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        working.set()
        await release.wait()
        return "done"

    first = asyncio.create_task(as_the_only_one(database, "rebuild search", work))
    await working.wait()
    assert await run(settings, Ways()) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "maeari: another rebuild search is running: wait until it has ended"
    release.set()
    assert await first == "done"
    await database.close()
    assert await run(settings, Ways()) == 0


async def test_whoever_loses_its_right_is_stopped(settings: Settings) -> None:
    """Given a server that ended the owner's session, the work is cancelled before another may begin."""
    database = Database(settings.database_url)
    cancelled, working = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    if database.embedded:
        task = asyncio.create_task(as_the_only_one(database, "rebuild search", work))
        await working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        other = Database(settings.database_url)
        task = asyncio.create_task(as_the_only_one(database, "rebuild search", work))
        await working.wait()
        await end_sessions_of_owners(other)
        with pytest.raises(Unavailable):
            await task
        await other.close()
    assert cancelled.is_set()
    await database.close()


async def end_sessions_of_owners(database: Database) -> None:
    query = text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )

    async def ended() -> bool:
        async with database.writing() as connection:
            return bool((await connection.execute(query)).all())

    await until(ended)


async def test_missing_topics_are_named_with_their_command(embedded_settings: Settings) -> None:
    with pytest.raises(SetupError, match="maeari topics apply"):
        await run(embedded_settings, Ways())


async def test_a_server_that_is_not_there_is_one_line(real_settings: Settings, tmp_path: Path) -> None:
    """Given nothing at the log's address, it gives up in seconds and leaves no index behind."""
    nowhere = replace(
        real_settings,
        eventlog_url="kafka://127.0.0.1:9",
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'database.sqlite3'}",
    )
    with pytest.raises(Unavailable) as caught:
        await run(nowhere, Ways())
    assert "\n" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)
    async with open_ports(real_settings) as ports:
        assert await ports.search.indices() == []
