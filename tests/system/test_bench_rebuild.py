"""`maeari bench rebuild` as its users run it: figures on stdout, nothing left behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from backbone.settings import Settings
from tests.system.processes import Surroundings
from tests.system.test_bench_index import servers
from tests.system.test_bench_write import scratch_databases, scratch_topics

SHORT = ("bench", "rebuild", "--messages", "300", "--pairs", "2", "--json")
REBUILDS = [
    ("search", "state"),
    ("search", "events"),
    ("search", "archive"),
    ("database", "state"),
    ("database", "events"),
    ("database", "archive"),
    ("notifications", "events"),
]


def check(report: dict[str, Any], *readings: str) -> None:
    runs = [(run["what"], run["source"]) for run in report["runs"]]
    assert runs == [(each, "state") for each in readings] * 2 + REBUILDS
    for run in report["runs"]:
        assert run["messages"] == 300
        assert run["records"] >= 300
        assert run["peak_mib"] > 10
        assert run["per_second"] == pytest.approx(run["records"] / run["seconds"], rel=0.01)
    assert {against: len(sizes["300"]) for against, sizes in report["fold_to"].items()} == dict.fromkeys(
        [each for each in readings if each != "fold"], 2
    )


async def test_figures_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files: each target from each source, proven, and the scratch files are gone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    check(json.loads(await Surroundings(tmp_path).run(*SHORT)), "reader", "fold")
    assert list(folder.iterdir()) == []


async def test_figures_from_servers(stack: Settings, tmp_path: Path) -> None:
    """On the real servers: the client library too; databases and topics of the measurement are dropped."""
    before = await scratch_databases(stack) | await scratch_topics(stack)
    report = json.loads(await Surroundings(tmp_path, servers(stack)).run(*SHORT))
    check(report, "client", "reader", "fold")
    assert await scratch_databases(stack) | await scratch_topics(stack) <= before
