"""`maeari verify` as people run it: over a running platform, and where something is wrong."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backbone.settings import Settings, read_settings
from backbone.wiring import open_database
from tests.conftest import ADAPTERS
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics
from tests.support.search import dropped_indices
from tests.support.waiting import until
from tests.system.processes import Surroundings

NOWHERE = "127.0.0.1:9"


@pytest.fixture(params=ADAPTERS)
async def around(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> AsyncIterator[Surroundings]:
    """Stores that are ready and empty."""
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(chosen, unique) as own, dropped_topics(own), dropped_indices(own):
        stores: dict[str, str] = {}
        if request.param == "real":
            stores = {
                "DATABASE_URL": own.database_url,
                "EVENTLOG_URL": own.eventlog_url,
                "SEARCH_URL": own.search_url,
                "TOPIC_PREFIX": own.topic_prefix,
                "SEARCH_ALIAS": own.search_alias,
                "ARCHIVE_URL": f"file://{tmp_path / 'archive'}",
            }
        around = Surroundings(tmp_path, {"ARCHIVE_MAX_AGE": "1", "WRITE_RATE": "10000", **stores})
        await around.run("migrate")
        await around.run("topics", "apply")
        yield around


async def post(around: Surroundings, count: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{around.ports.api}") as client:
        for number in range(count):
            body = {"channel_id": f"c{number % 5}", "author_id": "kim", "content": f"배포 {number}"}
            answer = await client.post("/messages", json=body)
            assert answer.status_code == 201, answer.text


@pytest.mark.timeout(240)
async def test_a_running_platform(around: Surroundings) -> None:
    """Nothing differs while it runs; then a row is forged behind its back, and it is named."""
    ports = around.ports
    async with (
        around.running("backend", probe=ports.api),
        around.running("indexer", probe=ports.indexer),
        around.running("archiver", probe=ports.notifier, METRICS_PORT=str(ports.notifier)),
    ):
        await post(around, 60)
        report = json.loads(await around.run("verify", "--json"))
        assert report["outcome"] in ("equal", "behind")
        assert (report["differences"], report["differing_messages"]) == ([], 0)

        async def equal() -> bool:
            return bool(json.loads(await around.run("verify", "--json"))["outcome"] == "equal")

        await until(equal, 60, every_s=1.0)
    code, output, errors = await around.attempt("verify")
    assert code == 0, errors
    table, last = output.splitlines()[:-1], output.splitlines()[-1]
    assert [line.split()[:3] for line in table[1:]] == [
        [name, "5", "60"] for name in ("database", "log", "state", "index", "archive")
    ]
    assert last.startswith("the stores hold the same")
    database = open_database(read_settings(around.environment(), dotenv=None))
    async with database.writing() as connection:
        await connection.exec_driver_sql("UPDATE messages SET content = 'forged' WHERE content = '배포 7'")
    await database.close()
    code, output, _ = await around.attempt("verify")
    assert code == 1
    assert "messages that differ: 1" in output.splitlines()
    assert "differs in content" in output
    assert "forged" not in output
    code, output, _ = await around.attempt("verify", "--json")
    report = json.loads(output)
    assert (code, report["outcome"], report["differences"][0]["wrong"]) == (1, "different", ["database"])


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("DATABASE_URL", f"postgresql+asyncpg://nobody@{NOWHERE}/none"),
        ("EVENTLOG_URL", f"kafka://{NOWHERE}"),
        ("SEARCH_URL", f"http://{NOWHERE}"),
        ("ARCHIVE_URL", "s3://bucket/prefix"),
    ],
)
async def test_a_store_that_is_down(around: Surroundings, setting: str, url: str) -> None:
    """It is told in one line, which names the setting."""
    more = {setting: url, "ARCHIVE_ENDPOINT": f"http://{NOWHERE}", "ARCHIVE_ACCESS_KEY": "k",
            "ARCHIVE_SECRET_KEY": "s"}  # fmt: skip
    code, output, errors = await around.attempt("verify", "--timeout", "1", **more)
    (line,) = errors.splitlines()
    assert (code, output) == (1, "")
    assert line.startswith(f"maeari: MAEARI_{setting}: ")


async def test_wrong_usage(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    code, _, errors = await around.attempt("verify", "--timeout", "-1")
    assert (code, len(errors.splitlines())) == (2, 1)
    code, _, errors = await around.attempt("verify")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "maeari topics apply" in errors
    await around.run("topics", "apply")
    code, _, errors = await around.attempt("verify")
    assert code == 2
    assert "maeari migrate" in errors
