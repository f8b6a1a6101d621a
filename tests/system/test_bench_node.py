"""`maeari bench node` as its users run it: every subject on the real servers, nothing left behind."""

import csv
import json
from pathlib import Path

import pytest

from backbone.settings import Settings
from tests.system.processes import Surroundings
from tests.system.test_bench_index import scratch, servers

TINY = (
    *("bench", "node", "--pairs", "1", "--seconds", "0.5", "--connections", "8", "--json"),
    *("--backlog", "100", "--states", "200", "--posts", "100", "--documents", "400"),
)
COUNTED = {
    "events indexed": 100,
    "states folded": 200,
    "states folded, kept whole": 200,
    "POST to frame, p99": 50,
    "memory, PSS, after 100 posts": 100,
}
THREE = ["maeari", "express", "fastify"]
CONTENDERS = {
    "POST /messages": THREE,
    "POST /messages, p99 at half of express's maximum": THREE,
    "GET /messages/search, each as it is": THREE,
    "GET /messages/search, maeari's question in both": THREE,
    "GET /messages/search, plain match in both": THREE,
    "events indexed": ["maeari", "node"],
    "POST to frame, p50": ["maeari", "express"],
    "states folded": ["maeari", "node"],
    "memory, RSS, idle": ["maeari", "express"],
    "guide: write, event bus off": ["maeari", "express"],
    "guide: read": ["maeari", "express"],
}


@pytest.mark.npm
@pytest.mark.timeout(600)
async def test_figures_from_servers(stack: Settings, tmp_path: Path) -> None:
    """Each contender of each subject is measured, what was counted is in the stores, all scratch is gone."""
    before = await scratch(stack)
    surroundings = Surroundings(tmp_path, servers(stack), command_within_s=580)
    said = await surroundings.run(*TINY, "--csv", "f.csv")
    figures = json.loads(said)["figures"]
    for what, contenders in CONTENDERS.items():
        assert [each["contender"] for each in figures if each["what"] == what] == contenders
    assert all(each["value"] > 0 for each in figures)
    for what, counted in COUNTED.items():
        assert {each["counted"] for each in figures if each["what"] == what} == {counted}
    searches = [each for each in figures if "search" in each["what"]]
    assert all(each["search_ms_each"] is not None for each in searches)
    rows = list(csv.DictReader((tmp_path / "f.csv").open(encoding="utf-8")))
    assert [row["contender"] for row in rows] == [each["contender"] for each in figures]
    assert (tmp_path / "f.html").read_text(encoding="utf-8").count("<svg") >= len(CONTENDERS)
    assert await scratch(stack) <= before


async def test_without_node_there_is_nothing_to_compare_with(
    stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No `node` on the path: one line that says so, and exit code 1."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code, output, errors = await Surroundings(tmp_path, servers(stack)).attempt(*TINY, "--csv", "f.csv")
    assert (code, output) == (1, "")
    assert errors.splitlines()[-1] == "maeari: there is no node, or no npm; install Node.js"


async def test_files_are_refused(tmp_path: Path) -> None:
    """Node.js has no embedded stores: one line that names the settings, and exit code 1."""
    code, output, errors = await Surroundings(tmp_path).attempt(*TINY, "--csv", "f.csv")
    assert (code, output) == (1, "")
    assert "MAEARI_DATABASE_URL, MAEARI_EVENTLOG_URL, MAEARI_SEARCH_URL must name" in errors
