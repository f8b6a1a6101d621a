"""The figures of `maeari bench node`, and what follows of them: medians, spreads, ratios pair by pair.

Guarantees: a ratio is always maeari's figure to that of its neighbour in the same pair, never of two medians.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAEARI = "maeari"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One run of one contender; the names are the columns of the CSV.

    `counted` is how many answers, documents, states or frames were counted, all of them found in the
    stores afterwards; `search_ms_each` is the time that Elasticsearch says it took for each answer.
    """

    what: str
    contender: str
    pair: int
    value: float
    unit: str
    counted: int
    seconds: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_ms_each: float | None = None
    instructions_each: int | None = None
    search_ms_each: float | None = None


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the least and the most of them."""

    median: float
    least: float
    most: float
    values: int


@dataclass(frozen=True)
class Comparison:
    """What was measured of a contender, over all pairs; `ratio` is maeari's to it, None of maeari itself."""

    what: str
    contender: str
    unit: str
    value: Spread
    cpu_ms_each: float | None
    instructions_each: float | None
    search_ms_each: float | None
    ratio: Spread | None


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and most of values, of which there is at least one."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def comparisons(figures: Sequence[Figure]) -> Iterator[Comparison]:
    """Yield what was measured, in the order in which it was measured first."""
    for what, contender in dict.fromkeys((each.what, each.contender) for each in figures):
        same = [each for each in figures if (each.what, each.contender) == (what, contender)]
        ratios = [] if contender == MAEARI else list(_ratios(figures, same))
        yield Comparison(
            what=what,
            contender=contender,
            unit=same[0].unit,
            value=spread([each.value for each in same]),
            cpu_ms_each=_median([each.cpu_ms_each for each in same]),
            instructions_each=_median([each.instructions_each for each in same]),
            search_ms_each=_median([each.search_ms_each for each in same]),
            ratio=spread(ratios) if ratios else None,
        )


def _ratios(figures: Sequence[Figure], theirs: Sequence[Figure]) -> Iterator[float]:
    for their in theirs:
        for each in figures:
            if (each.what, each.contender, each.pair) == (their.what, MAEARI, their.pair) and their.value:
                yield each.value / their.value


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
