"""The figures of `maeari bench node`, and what follows of them: medians, spreads, ratios pair by pair.

Guarantees: a ratio is always maeari's figure to that of its neighbour in the same pair, never of two medians.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAEARI = "maeari"
# The guide's own comparisons.
BUS_ON, BUS_OFF, READ = "guide: write, event bus on", "guide: write, event bus off", "guide: read"
_KEPT_UP = 0.9


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One run of one contender; the names are the columns of the CSV.

    `counted` is how many answers, documents, states or frames were counted, all of them found in the
    stores afterwards; `search_ms_each` is the time that Elasticsearch says it took for each answer.
    Where a rate was asked for and `counted / seconds` is well below it, the times are those of a queue.
    """

    what: str
    contender: str
    pair: int
    value: float
    unit: str
    counted: int
    seconds: float | None = None
    asked_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_ms_each: float | None = None
    instructions_each: int | None = None
    search_ms_each: float | None = None

    @property
    def kept_up(self) -> bool:
        """Say whether the rate that was asked for was reached."""
        if self.asked_per_second is None or not self.seconds:
            return True
        return self.counted / self.seconds > _KEPT_UP * self.asked_per_second


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
    kept_up: bool


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and most of values, of which there is at least one."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def comparisons(figures: Sequence[Figure]) -> Iterator[Comparison]:
    """Yield what was measured, subject by subject, in the order in which it was measured first."""
    subjects = list(dict.fromkeys(each.what for each in figures))
    kinds = dict.fromkeys((each.what, each.contender) for each in figures)
    for what, contender in sorted(kinds, key=lambda kind: subjects.index(kind[0])):
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
            kept_up=all(each.kept_up for each in same),
        )


def within(figures: Sequence[Figure], what: str, other: str) -> dict[str, Spread]:
    """Return by contender the ratio of one of its own subjects to another, pair by pair."""
    found: dict[str, Spread] = {}
    for contender in dict.fromkeys(each.contender for each in figures):
        values = {(f.what, f.pair): f.value for f in figures if f.contender == contender}
        pairs = [pair for subject, pair in values if subject == what and values.get((other, pair))]
        if pairs:
            found[contender] = spread([values[what, pair] / values[other, pair] for pair in pairs])
    return found


def _ratios(figures: Sequence[Figure], theirs: Sequence[Figure]) -> Iterator[float]:
    for their in theirs:
        for each in figures:
            if (each.what, each.contender, each.pair) == (their.what, MAEARI, their.pair) and their.value:
                yield each.value / their.value


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
