"""The figures of `maeari bench index`, and what people and programs read of them."""

import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.figures import percentile

Kind = Literal["bulk", "one by one"]


@dataclass(frozen=True, kw_only=True)
class IndexRun:
    """How fast an indexer was; `cpu_ms_per_document` is that of its process, not of the servers."""

    indexer: Kind
    pair: int
    documents: int
    seconds: float
    per_second: float
    cpu_ms_per_document: float


@dataclass(frozen=True, kw_only=True)
class SearchableLag:
    """How long it took from the moment of a POST until a search found the message."""

    posts: int
    posts_per_second: float
    p50_ms: float
    p99_ms: float
    longest_ms: float


def lag_of(lags_s: Sequence[float], posts_per_second: float) -> SearchableLag:
    """Return the figures of lags in seconds."""
    ascending = sorted(round(lag_s * 1e6) for lag_s in lags_s)
    p50_us, p99_us, longest_us = (percentile(ascending, percent) for percent in (50, 99, 100))
    return SearchableLag(
        posts=len(ascending),
        posts_per_second=posts_per_second,
        p50_ms=p50_us / 1000,
        p99_ms=p99_us / 1000,
        longest_ms=longest_us / 1000,
    )


def ratios(runs: Sequence[IndexRun]) -> list[float]:
    """Return the ratio of documents per second, bulk to one by one, of each whole pair."""
    rates = {(run.pair, run.indexer): run.per_second for run in runs}
    pairs = sorted({run.pair for run in runs})
    both = ((rates.get((pair, "bulk")), rates.get((pair, "one by one"))) for pair in pairs)
    return [bulk / single for bulk, single in both if bulk and single]


def as_json(surroundings: dict[str, str], runs: Sequence[IndexRun], lag: SearchableLag) -> str:
    """Return everything as one JSON object."""
    document: dict[str, Any] = {
        "machine": surroundings,
        "runs": [dataclasses.asdict(run) for run in runs],
        "ratios": [round(ratio, 3) for ratio in ratios(runs)],
        "lag": dataclasses.asdict(lag),
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def table(surroundings: dict[str, str], runs: Sequence[IndexRun], lag: SearchableLag) -> Iterator[str]:
    """Yield the lines that people read."""
    yield from (f"{name}: {value}" for name, value in surroundings.items())
    yield ""
    yield f"{'indexer':<12}{'pair':>6}{'documents':>12}{'documents/s':>14}{'CPU ms each':>14}"
    for run in runs:
        yield (
            f"{run.indexer:<12}{run.pair:>6}{run.documents:>12,}{run.per_second:>14,.0f}"
            f"{run.cpu_ms_per_document:>14.3f}"
        )
    found = ratios(runs)
    yield ""
    yield (
        f"documents/s in bulk to those one by one: {statistics.median(found):.1f} "
        f"({min(found):.1f} to {max(found):.1f}, pairs: {len(found)})"
    )
    yield (
        f"from POST to searchable, {lag.posts:,} posts, {lag.posts_per_second:g} a second: "
        f"p50 {lag.p50_ms:,.0f} ms, p99 {lag.p99_ms:,.0f} ms, longest {lag.longest_ms:,.0f} ms"
    )
