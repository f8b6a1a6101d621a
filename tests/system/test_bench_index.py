"""`maeari bench index` as its users run it: figures on stdout, nothing left behind."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from backbone.settings import Settings
from tests.support.waiting import until
from tests.system.processes import MAEARI, Surroundings
from tests.system.test_bench_write import scratch_databases, scratch_topics

SHORT = (
    *("bench", "index", "--messages", "300", "--one-by-one", "50", "--pairs", "1"),
    *("--rate", "40", "--seconds", "0.5", "--json"),
)


def servers(stack: Settings) -> dict[str, str]:
    return {
        "DATABASE_URL": stack.database_url,
        "EVENTLOG_URL": stack.eventlog_url,
        "SEARCH_URL": stack.search_url,
    }


async def scratch(stack: Settings) -> set[str]:
    """Return the databases, topics and indices that a benchmark made."""
    return await scratch_databases(stack) | await scratch_topics(stack) | await scratch_indices(stack)


async def scratch_indices(stack: Settings) -> set[str]:
    async with AsyncElasticsearch(stack.search_url) as client:
        return set((await client.indices.get(index="maeari-bench-*", features="settings")).body)


def check(report: dict[str, Any]) -> None:
    assert [(run["indexer"], run["documents"]) for run in report["runs"]] == [
        ("bulk", 300),
        ("one by one", 50),
    ]
    assert all(run["per_second"] > 0 for run in report["runs"])
    assert len(report["ratios"]) == 1
    assert report["lag"]["posts"] == 20
    assert 0 < report["lag"]["p50_ms"] <= report["lag"]["p99_ms"] <= report["lag"]["longest_ms"]


async def test_figures_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files: every document is found, every post too, and the scratch files are gone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    surroundings = Surroundings(tmp_path)
    report = json.loads(await surroundings.run(*SHORT))
    check(report)
    assert report["machine"]["search"] == "embedded"
    assert not surroundings.data.exists()
    assert list(folder.iterdir()) == []


async def test_figures_from_servers(stack: Settings, tmp_path: Path) -> None:
    """On the real servers: the same, and databases, topics and indices of the measurement are dropped."""
    before = await scratch(stack)
    check(json.loads(await Surroundings(tmp_path, servers(stack)).run(*SHORT)))
    assert await scratch(stack) <= before


async def test_an_interrupted_run_leaves_nothing_on_the_servers(stack: Settings, tmp_path: Path) -> None:
    """Ctrl-C while documents are indexed: one line, 130, and everything of the measurement is dropped."""
    before = await scratch(stack)
    process = await asyncio.create_subprocess_exec(
        *(MAEARI, "bench", "index", "--messages", "50000", "--one-by-one", "50000"),
        cwd=tmp_path,
        env=Surroundings(tmp_path, servers(stack)).environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:

        async def indexing() -> bool:
            return bool(await scratch_indices(stack) - before)

        await until(indexing, 40, every_s=0.1)
        made = await scratch(stack) - before
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(40):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors.decode().splitlines()[-1]) == (130, "maeari: interrupted")
    assert len(made) > 2
    assert not await scratch(stack) & made
