"""`maeari bench notify` as its users run it: figures on stdout, nothing left behind."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backbone.settings import Settings
from tests.system.processes import MAEARI, Surroundings
from tests.system.test_bench_index import servers
from tests.system.test_bench_write import scratch_databases, scratch_topics

SHORT = (
    *("bench", "notify", "--sockets", "120", "--rounds", "2"),
    *("--rates", "40", "--seconds", "0.5", "--json"),
)


def check(report: dict[str, Any]) -> None:
    assert report["idle_sockets"] == 120
    for each in (report["event"], report["announcement"]):
        assert each["sockets"] == 120
        assert len(each["last_ms"]) == 2
        for first_ms, last_ms in zip(each["first_ms"], each["last_ms"], strict=True):
            assert 0 < first_ms <= last_ms
    assert report["event"]["frame_bytes"] > 200
    (latency,) = report["latencies"]
    assert (latency["posts"], latency["posts_per_second"]) == (20, 40)
    assert 0 < latency["p50_ms"] <= latency["p99_ms"] <= latency["longest_ms"]


async def test_figures_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files: every frame came to each socket once, and the scratch files are gone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    surroundings = Surroundings(tmp_path)
    report = json.loads(await surroundings.run(*SHORT))
    check(report)
    assert (report["event_by_node"], report["node_ratios"]) == (None, [])
    assert not surroundings.data.exists()
    assert list(folder.iterdir()) == []


async def test_figures_from_servers(stack: Settings, tmp_path: Path) -> None:
    """On the real servers: the same, and databases and topics of the measurement are dropped."""
    before = await scratch_databases(stack) | await scratch_topics(stack)
    check(json.loads(await Surroundings(tmp_path, servers(stack)).run(*SHORT)))
    assert await scratch_databases(stack) | await scratch_topics(stack) <= before


async def test_without_node_the_comparison_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--node` where there is none: one line that says so, and exit code 2."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code, output, errors = await Surroundings(tmp_path).attempt(*SHORT, "--node")
    assert (code, output) == (2, "")
    assert "--node: there is no node" in errors.splitlines()[-1]


async def test_more_sockets_than_the_system_allows_are_refused(tmp_path: Path) -> None:
    """Where the hard limit leaves no room: one line that names both numbers, before anything is made."""
    surroundings = Surroundings(tmp_path)
    command = f"ulimit -n 600; exec {MAEARI} bench notify --sockets 2000"
    process = await asyncio.create_subprocess_shell(
        command, cwd=tmp_path, env=surroundings.environment(), stderr=subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().splitlines()[-1].startswith("maeari: --sockets: 2,000 need 2,500 open files")
