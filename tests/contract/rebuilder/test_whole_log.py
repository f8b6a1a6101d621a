"""A rebuild out of a log that has lost what the database told it: refused, and nothing is dropped."""

import shutil
from pathlib import Path

import pytest

from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder.search.command import run
from rebuilder.search.ways import Ways
from schemas.topics import ALL_TOPICS
from tests.support.backend import make_topics, running_backend


async def test_a_log_that_is_not_whole_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a database that told more messages than the log holds, nothing is swapped or dropped."""
    settings = read_settings({"MAEARI_DATA": str(tmp_path)}, dotenv=None)
    async with running_backend(settings) as backend:
        await make_topics(backend, settings)
        await backend.ports.search.ensure()
        await backend.post("c", "a", "told and lost")
        await backend.relay()
    lose_the_log(tmp_path)
    async with open_ports(settings) as ports:
        await ports.eventlog.apply_topics(ALL_TOPICS, settings.partitions)
        before = await ports.search.current()
        assert await run(settings, Ways()) == 1
        assert await ports.search.current() == before
    assert "the log holds 0 of the 1 messages" in capsys.readouterr().out


def lose_the_log(data: Path) -> None:
    for lost in data.glob("eventlog.sqlite3*"):
        if lost.is_dir():
            shutil.rmtree(lost)
        else:
            lost.unlink()
