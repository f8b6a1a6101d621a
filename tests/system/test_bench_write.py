"""`maeari bench write` as its users run it: figures on stdout and in a file, nothing left behind."""

import asyncio
import csv
import json
import signal
import subprocess
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from backbone.database.engine import Database
from backbone.database.tables import messages
from backbone.errors import SetupError, Unavailable
from backbone.settings import Settings
from bench.failure import MeasurementFailed
from bench.measurement import Step, measure
from bench.report import COLUMNS
from bench.scratch import scratch_stores
from bench.server import running_backend
from bench.workload import Workload
from tests.support.waiting import until
from tests.system.processes import MAEARI, Surroundings

SHORT = ("bench", "write", "--connections", "4", "--seconds", "0.3", "--channels", "5", "--authors", "20")


async def test_figures_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files: every post is accounted for, in the CSV and as JSON, and the scratch files are gone."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    surroundings = Surroundings(tmp_path)
    report = json.loads(await surroundings.run(*SHORT, "--no-hot", "--csv", "out/figures.csv", "--json"))
    rows = list(csv.DictReader((tmp_path / "out" / "figures.csv").open(encoding="utf-8")))
    assert [tuple(row) for row in rows] == [COLUMNS, COLUMNS]
    assert [row["group_commit"] for row in rows] == ["on", "off"]
    for row in rows:
        assert int(row["acknowledged"]) > 0
        assert int(row["stored"]) == int(row["acknowledged"]) + int(row["warm_up"])
        assert (row["other_answers"], row["lost"]) == ("0", "0")
        assert 0 < float(row["p50_ms"]) <= float(row["p95_ms"]) <= float(row["p99_ms"])
    assert report["ratios"][0]["pairs"] == 1
    assert "SQLite" in report["machine"]["database"]
    assert not surroundings.data.exists()
    assert list(scratch.iterdir()) == []


async def test_an_interrupted_run_leaves_nothing_on_the_servers(stack: Settings, tmp_path: Path) -> None:
    """Ctrl-C in the midst of a load: one line, 130, and scratch database and topics are dropped."""
    before = await scratch_databases(stack) | await scratch_topics(stack)
    process = await asyncio.create_subprocess_exec(
        MAEARI,
        *("bench", "write", "--connections", "2", "--seconds", "60"),
        cwd=tmp_path,
        env=Surroundings(tmp_path).environment(
            DATABASE_URL=stack.database_url, EVENTLOG_URL=stack.eventlog_url
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:

        async def posting() -> bool:
            made = await scratch_databases(stack) - before
            return any([await messages_in(stack, name) > 0 for name in made])

        await until(posting, 40, every_s=0.2)
        made = await scratch_databases(stack) | await scratch_topics(stack)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(40):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors.decode().splitlines()[-1]) == (130, "maeari: interrupted")
    after = await scratch_databases(stack) | await scratch_topics(stack)
    assert len(made - before) > 1
    assert not after & (made - before)


async def test_a_backend_that_dies_ends_the_measurement(embedded_settings: Settings) -> None:
    """At once, and with its exit code, whatever the outbox still holds: nobody will tell that to the log."""
    async with scratch_stores(embedded_settings) as stores:
        database = Database(stores.database_url)
        try:
            with pytest.raises(MeasurementFailed, match=r"^the backend ended by itself with exit code -9: "):
                await _measure_and_kill(stores, database)
        finally:
            await database.close()


async def _measure_and_kill(stores: Settings, database: Database) -> None:
    step = Step(Workload("spread", 5, 20), 4, 1, "on")
    async with asyncio.timeout(40), running_backend(stores, None) as backend:

        async def posting() -> bool:
            async with database.reading() as connection:
                return bool(await connection.scalar(select(func.count()).select_from(messages)))

        measuring = asyncio.create_task(measure(step, "b", backend, database, 60))
        await until(posting)
        backend.process.kill()
        await measuring


async def scratch_databases(stack: Settings) -> set[str]:
    """Return the databases of the server that a benchmark made."""
    database = Database(stack.database_url)
    try:
        async with database.reading() as connection:
            query = text("SELECT datname FROM pg_database WHERE starts_with(datname, 'maeari_bench_')")
            return set(await connection.scalars(query))
    finally:
        await database.close()


async def scratch_topics(stack: Settings) -> set[str]:
    """Return the topics of the brokers that a benchmark made."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.eventlog_url.removeprefix("kafka://"))
    try:
        await admin.start()
        return {name for name in await admin.list_topics() if name.startswith("maeari-bench-")}
    finally:
        await admin.close()


async def messages_in(stack: Settings, name: str) -> int:
    """Return how many messages the database of that name has; 0 while it has no tables, or is gone."""
    database = Database(make_url(stack.database_url).set(database=name).render_as_string(hide_password=False))
    try:
        async with database.reading() as connection:
            return int((await connection.execute(select(func.count()).select_from(messages))).scalar_one())
    except (SetupError, Unavailable):
        return 0
    finally:
        await database.close()
