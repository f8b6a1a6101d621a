"""`maeari bench growth` as its users run it: each route and process at each size, nothing left behind."""

import json
from pathlib import Path

import pytest

from backbone.settings import Settings
from bench.growth_figures import Cost, exponent
from tests.system.processes import Surroundings
from tests.system.test_bench_index import servers
from tests.system.test_bench_write import scratch_databases, scratch_topics

SHORT = ("bench", "growth", "--messages", "20,60", "--channels", "3", "--requests", "2", "--json")


@pytest.mark.timeout(300)
async def test_figures_from_servers(stack: Settings, tmp_path: Path) -> None:
    """On the real servers: every cost at both sizes; databases and topics of the measurement are dropped."""
    before = await scratch_databases(stack) | await scratch_topics(stack)
    surroundings = Surroundings(tmp_path, servers(stack), command_within_s=240)
    report = json.loads(await surroundings.run(*SHORT))
    sizes: dict[str, list[int]] = {}
    for cost in report["costs"]:
        assert cost["each_ms"] > 0
        sizes.setdefault(cost["what"], []).append(cost["messages"])
    assert set(map(tuple, sizes.values())) == {(20, 60)}
    assert {"rebuild database", "verify", "POST /messages", "GET /messages/search, relevance"} <= set(sizes)
    assert len(report["exponents"]) == len(sizes) >= 20
    assert await scratch_databases(stack) | await scratch_topics(stack) <= before


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_is_that_of_the_whole(power: float) -> None:
    """Given a cost each that grows by a power of the size, the whole grows by one power more."""
    costs = [
        Cost(kind="route", what="w", layout="1", messages=size, each_ms=0.5 * size**power)
        for size in (10, 100, 1_000)
    ]
    assert exponent(costs) == pytest.approx(power + 1)
    assert exponent(costs[:1]) is None
