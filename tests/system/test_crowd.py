"""Two thousand sockets at one notifier: what an idle one costs, and how fast an event is with them all."""

import asyncio
from pathlib import Path

import httpx
from rich import print as show

from tests.system.crowd import Crowd, room_for_sockets
from tests.system.processes import Surroundings

CROWD = 2000
# Before they are counted: what the first sockets load stays.
FIRST = 100
IDLE_KIB_MAX = 15.0


def resident_kib(pid: int) -> int:
    """Return how much memory a process has in use."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no such line")


async def test_an_idle_socket_costs_little(tmp_path: Path) -> None:
    """A socket that is connected and gets nothing takes at most 15 KiB of the process."""
    surroundings = Surroundings(tmp_path)
    ports = surroundings.ports
    with room_for_sockets(), Crowd(ports.sockets) as crowd:
        await surroundings.run("migrate")
        await surroundings.run("topics", "apply")
        notifier = await surroundings.start(
            "notifier", probe=ports.notifier, METRICS_PORT=str(ports.notifier)
        )
        try:
            await asyncio.to_thread(crowd.grow, FIRST)
            before_kib = resident_kib(notifier.pid)
            await asyncio.to_thread(crowd.grow, CROWD)
            each_kib = (resident_kib(notifier.pid) - before_kib) / CROWD
            show(f"an idle socket: {each_kib:.1f} KiB of {CROWD}")
        finally:
            notifier.kill()
            await notifier.wait()
    assert 1 < each_kib <= IDLE_KIB_MAX


async def test_one_event_reaches_all_who_are_subscribed(tmp_path: Path) -> None:
    """Each of 2,000 sockets gets each event once; how long it takes from the first to the last is printed."""
    surroundings = Surroundings(tmp_path)
    ports = surroundings.ports
    post = {"channel_id": "공지", "author_id": "철수", "content": "모두에게"}
    with room_for_sockets(), Crowd(ports.sockets) as crowd:
        async with (
            surroundings.running("dev", probe=ports.api),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.api}") as client,
        ):
            assert (await client.post("/messages", json=post)).status_code == 201
            await asyncio.to_thread(crowd.grow, CROWD, "공지")
            spreads_ms: list[float] = []
            for _ in range(5):
                arriving = asyncio.create_task(asyncio.to_thread(lambda: list(crowd.arrivals())))
                assert (await client.post("/messages", json=post)).status_code == 201
                moments = await arriving
                assert len(moments) == CROWD
                spreads_ms.append((moments[-1] - moments[0]) * 1000)
            show("first to last of 2,000, ms:", *(f"{each:.0f}" for each in spreads_ms))
    assert min(spreads_ms) < 1000
