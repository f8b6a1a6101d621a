"""`maeari bench index` as its users run it: figures on stdout, nothing left behind."""

import json
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from backbone.settings import Settings
from tests.system.processes import Surroundings
from tests.system.test_bench_write import scratch_databases, scratch_topics

SHORT = (
    *("bench", "index", "--messages", "300", "--one-by-one", "50", "--pairs", "1"),
    *("--rate", "40", "--seconds", "0.5", "--json"),
)


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
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    surroundings = Surroundings(tmp_path)
    report = json.loads(await surroundings.run(*SHORT))
    check(report)
    assert report["machine"]["search"] == "embedded"
    assert not surroundings.data.exists()
    assert list(scratch.iterdir()) == []


async def test_figures_from_servers(stack: Settings, tmp_path: Path) -> None:
    """On the real servers: the same, and databases, topics and indices of the measurement are dropped."""
    before = await scratch_databases(stack) | await scratch_topics(stack) | await scratch_indices(stack)
    urls = {
        "DATABASE_URL": stack.database_url,
        "EVENTLOG_URL": stack.eventlog_url,
        "SEARCH_URL": stack.search_url,
    }
    check(json.loads(await Surroundings(tmp_path, urls).run(*SHORT)))
    after = await scratch_databases(stack) | await scratch_topics(stack) | await scratch_indices(stack)
    assert after <= before
