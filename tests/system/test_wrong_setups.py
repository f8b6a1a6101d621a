"""Wrong settings and surroundings: one line that names it and the right exit code, never a traceback."""

import socket
from pathlib import Path

import pytest

from tests.system.processes import Surroundings

NOWHERE = "127.0.0.1:9"


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    """A folder, ports of the test's own, no server."""
    return Surroundings(tmp_path)


async def one_line(surroundings: Surroundings, code: int, *arguments: str, **settings: str) -> str:
    """Run a command that must fail with the code; return its one line."""
    left, output, errors = await surroundings.attempt(*arguments, **settings)
    assert (left, output) == (code, ""), errors
    *before, line = errors.splitlines()
    assert before == [], errors
    assert line.startswith("maeari: ")
    return line


@pytest.mark.parametrize(
    ("command", "setting", "value"),
    [
        ("dev", "PORT", "eighty"),
        ("dev", "HOST", "0.0.0.0"),
        ("backend", "AUTH", "jwt"),
        ("backend", "DATABASE_URL", "mysql://localhost/x"),
        ("backend", "DATABASE_URL", f"postgresql+asyncpg://maeari@{NOWHERE}/x"),
        ("notifier", "DATABASE_URL", "postgresql+asyncpg://maeari@no-such-host.invalid/x"),
        ("indexer", "EVENTLOG_URL", "kafka://"),
        ("indexer", "EVENTLOG_URL", f"kafka://{NOWHERE}"),
        ("indexer", "SEARCH_URL", "ftp://x"),
    ],
)
async def test_a_wrong_setting_is_named(
    surroundings: Surroundings, command: str, setting: str, value: str
) -> None:
    """Given one wrong setting, a process ends with 2 and names it."""
    assert f"MAEARI_{setting}" in await one_line(surroundings, 2, command, **{setting: value})


async def test_a_search_server_that_is_not_there(surroundings: Surroundings) -> None:
    """Given topics but no search server, the indexer ends with 2 and names the setting."""
    await surroundings.run("topics", "apply")
    line = await one_line(surroundings, 2, "indexer", SEARCH_URL=f"http://{NOWHERE}")
    assert "MAEARI_SEARCH_URL" in line


@pytest.mark.parametrize("setting", ["PORT", "WEBSOCKET_PORT"])
async def test_a_port_that_is_taken(surroundings: Surroundings, setting: str) -> None:
    """Given another program on its port, `dev` promises nothing and names the setting."""
    port = {"PORT": surroundings.ports.api, "WEBSOCKET_PORT": surroundings.ports.sockets}[setting]
    with socket.create_server(("127.0.0.1", port)):
        line = await one_line(surroundings, 2, "dev")
    assert f"MAEARI_{setting}" in line
    assert "taken" in line


async def test_a_folder_that_cannot_be(surroundings: Surroundings) -> None:
    """Given a file where the data folder should be, `dev` names MAEARI_DATA."""
    (surroundings.folder / "file").write_text("")
    for data in ("file", "file/below"):
        line = await one_line(surroundings, 2, "dev", DATA=str(surroundings.folder / data))
        assert "MAEARI_DATA" in line


@pytest.mark.parametrize("store", ["database", "eventlog", "search"])
async def test_a_file_that_is_no_database(surroundings: Surroundings, store: str) -> None:
    """Given garbage in one of the three files, `dev` names it, and leaves the garbage alone."""
    garbage = garbage_in(surroundings, store)
    before = garbage.read_bytes()
    assert store in (await one_line(surroundings, 2, "dev")).lower()
    assert garbage.read_bytes() == before


def garbage_in(surroundings: Surroundings, store: str) -> Path:
    surroundings.data.mkdir()
    file = surroundings.data / f"{store}.sqlite3"
    file.write_text("this is not a database, however long one looks at it" * 40)
    return file


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("backend",), "maeari migrate"),
        (("notifier",), "maeari migrate"),
        (("indexer",), "maeari topics apply"),
    ],
)
async def test_what_was_not_set_up_names_its_command(
    surroundings: Surroundings, arguments: tuple[str, ...], remedy: str
) -> None:
    """Given a fresh folder, each process says which command makes what it lacks."""
    assert remedy in await one_line(surroundings, 2, *arguments)


async def test_a_command_that_cannot_do_its_work(surroundings: Surroundings) -> None:
    """Given a server that does not answer, a command ends with 1 and names the setting."""
    line = await one_line(surroundings, 1, "migrate", DATABASE_URL=f"postgresql+asyncpg://x@{NOWHERE}/x")
    assert "MAEARI_DATABASE_URL" in line
    line = await one_line(surroundings, 1, "topics", "apply", EVENTLOG_URL=f"kafka://{NOWHERE}")
    assert "MAEARI_EVENTLOG_URL" in line
