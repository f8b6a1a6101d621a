"""The work behind `maeari rebuild database`: what it prints and answers."""

import json
import sqlite3

import pytest
from sqlalchemy import text

from backbone.errors import SetupError
from backbone.settings import Settings
from rebuilder.database.command import run
from rebuilder.database.ways import Ways
from tests.support.backend import Backend
from tests.support.write_side import Users


async def test_it_tells_people_and_programs(
    backend: Backend, users: Users, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(settings, Ways()) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "swapped in what the log holds"
    assert "load: " in output.err
    assert await run(settings, Ways(compare=True), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["target"], report["source"], report["outcome"]) == ("database", "events", "compared")
    assert report["counts"]["messages"] == len(users.posted)
    assert sum(report["offsets"]["messages.created"]) >= len(users.posted)
    assert set(report["digests"]) == {"일반", "ops", "비밀"}


async def test_a_refusal_is_exit_code_1_and_one_line(
    backend: Backend, users: Users, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with backend.ports.database.writing() as connection:
        await connection.execute(text("UPDATE channels SET name = 'forged' WHERE channel_id = 'ops'"))
    assert await run(settings, Ways(), as_json=True) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("maeari: rebuild database refused: rows that differ: 1; ")


@pytest.mark.parametrize(
    ("ways", "line"),
    [
        (Ways(source="memory"), "--from 'memory' is not one of state, events, archive"),
        (Ways(into="public"), "--into 'public': give a name of its own"),
        (Ways(into="maeari_rehearsal"), "is where notifications are rebuilt"),
    ],
)
async def test_what_it_cannot_do_it_says(backend: Backend, settings: Settings, ways: Ways, line: str) -> None:
    with pytest.raises(SetupError, match=line):
        await run(settings, ways)


async def test_nothing_to_go_on_with_is_exit_code_1(
    backend: Backend, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(settings, Ways(resume=True)) == 1
    assert "maeari: --resume: there is nothing to go on with" in capsys.readouterr().err


async def test_a_name_that_is_anothers_is_left_alone(backend: Backend, settings: Settings) -> None:
    """Given a schema, or file, that no rebuild made, it is not dropped."""
    database = backend.ports.database
    if database.embedded:
        path = f"{database.url.database}.theirs"
        with sqlite3.connect(path) as file:
            file.execute("CREATE TABLE precious (id)")
        file.close()
    else:
        async with database.writing() as connection:
            await connection.execute(text("CREATE SCHEMA theirs"))
    with pytest.raises(SetupError, match="no rebuild made it"):
        await run(settings, Ways(into="theirs"))
