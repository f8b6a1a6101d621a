"""Two thousand sockets at one notifier: what an idle one costs, and how fast each way reaches them all."""

import json
from pathlib import Path

import pytest
from rich import print as show

from backbone.settings import Settings
from tests.system.processes import Surroundings
from tests.system.test_bench_index import servers

CROWD = 2000
IDLE_KIB_MAX = 15.0
# Twice what is promised of a machine that does nothing else.
ANNOUNCED_WITHIN_MS = 2000
# What a machine that does nothing else takes ten times over; questions that wait for one another take more.
TOLD_WITHIN_MS = 300


@pytest.mark.timeout(200)
async def test_two_thousand_sockets(stack: Settings, tmp_path: Path) -> None:
    """An idle one takes at most 15 KiB; an event and an announcement come to each of them once, soon."""
    command = ("bench", "notify", "--sockets", str(CROWD), "--rounds", "3", "--rates", "50", "--seconds", "2")
    surroundings = Surroundings(tmp_path, servers(stack), command_within_s=150)
    figures = json.loads(await surroundings.run(*command, "--json"))
    event, announcement = figures["event"], figures["announcement"]
    show(f"an idle socket: {figures['idle_socket_kib']} KiB of {CROWD}")
    show("an event, first to last of them, ms:", event["spread_ms"])
    show("@channel, to the last of them, ms:", announcement["last_ms"])
    assert 1 < figures["idle_socket_kib"] <= IDLE_KIB_MAX
    assert event["sockets"] == announcement["sockets"] == CROWD
    assert min(announcement["last_ms"]) < ANNOUNCED_WITHIN_MS
    assert figures["latencies"][0]["p50_ms"] < TOLD_WITHIN_MS
