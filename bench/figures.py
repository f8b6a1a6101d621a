"""The figures of a measurement, and what follows from several: percentiles, rates, ratios of pairs."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One load on one backend; the names are the columns of the CSV.

    `acknowledged` counts answers 201 in `seconds`, `warm_up` those before; `other_answers` and `lost`
    count requests of both that got another answer, or none. `stored` is how many messages the database
    has of them; `untold_events` lay in the outbox when the last answer came.
    """

    workload: str
    channels: int
    authors: int
    connections: int
    group_commit: str
    pair: int
    seconds: float
    acknowledged: int
    warm_up: int
    other_answers: int
    lost: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    stored: int
    untold_events: int
    server_cpu_ms_per_post: float | None
    generator_cpu_percent: float
    load_average: float | None

    def disagreement(self) -> str | None:
        """Say how what is stored differs from what was acknowledged; what got no answer may be stored."""
        acknowledged = self.acknowledged + self.warm_up
        if acknowledged <= self.stored <= acknowledged + self.lost:
            return None
        return (
            f"{self.workload}, {self.connections} connections, group commit {self.group_commit}: "
            f"{acknowledged} posts were acknowledged and {self.stored} are stored"
        )


@dataclass(frozen=True)
class Ratio:
    """Posts per second with group commit to those without, over pairs measured one after the other."""

    workload: str
    connections: int
    pairs: int
    median: float
    least: float
    most: float


def percentile(ascending: Sequence[int], percent: float) -> int:
    """Return the nearest-rank percentile: the least value that so many per cent are not above; 0 of none."""
    if not ascending:
        return 0
    rank = -(-len(ascending) * percent // 100)
    return ascending[max(0, int(rank) - 1)]


def ratios(measurements: Iterable[Measurement]) -> list[Ratio]:
    """Return the ratio on/off of each workload and number of connections, where both were measured."""
    rates: dict[tuple[str, int], dict[int, dict[str, float]]] = {}
    for m in measurements:
        rates.setdefault((m.workload, m.connections), {}).setdefault(m.pair, {})[m.group_commit] = (
            m.per_second
        )
    found = []
    for (workload, connections), pairs in rates.items():
        of_pairs = [rate["on"] / rate["off"] for rate in pairs.values() if len(rate) == 2 and rate["off"]]
        if of_pairs:
            median = statistics.median(of_pairs)
            found.append(Ratio(workload, connections, len(of_pairs), median, min(of_pairs), max(of_pairs)))
    return found
