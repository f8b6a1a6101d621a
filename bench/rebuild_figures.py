"""The figures of `maeari bench rebuild`, and what people and programs read of them."""

import json
import statistics
from collections.abc import Iterator, Sequence

import msgspec


class RebuildRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run: `seconds` of the work, without the start of its process; the peak is all its memory."""

    what: str
    source: str
    messages: int
    records: int
    seconds: float
    peak_mib: float

    @property
    def per_second(self) -> float:
        """Records of the source a second."""
        return self.records / self.seconds


def fold_ratios(runs: Sequence[RebuildRun]) -> dict[str, dict[int, list[float]]]:
    """Return by what it is compared with, and by size, how fast the fold was, of each pair in turn."""
    found: dict[str, dict[int, list[float]]] = {}
    for baseline in ("client", "reader"):
        for size in sorted({run.messages for run in runs}):
            rates = {
                what: [run.per_second for run in runs if (run.what, run.messages) == (what, size)]
                for what in (baseline, "fold")
            }
            if rates[baseline] and rates["fold"]:
                pairs = zip(rates["fold"], rates[baseline], strict=False)
                found.setdefault(baseline, {})[size] = [fold / raw for fold, raw in pairs]
    return found


def as_json(surroundings: dict[str, str], runs: Sequence[RebuildRun]) -> str:
    """Return everything as one JSON object."""
    rows = [{**msgspec.to_builtins(run), "per_second": round(run.per_second, 1)} for run in runs]
    ratios = {
        against: {str(size): [round(each, 3) for each in values] for size, values in sizes.items()}
        for against, sizes in fold_ratios(runs).items()
    }
    return json.dumps({"surroundings": surroundings, "runs": rows, "fold_to": ratios})


def table(surroundings: dict[str, str], runs: Sequence[RebuildRun]) -> Iterator[str]:
    """Yield lines for people: the median of each kind of run."""
    yield ", ".join(f"{name} {value}" for name, value in surroundings.items())
    yield f"{'what':<14}{'source':<10}{'messages':>10}{'records/s':>12}{'messages/s':>12}{'peak MiB':>10}"
    for what, source, size in dict.fromkeys((run.what, run.source, run.messages) for run in runs):
        alike = [run for run in runs if (run.what, run.source, run.messages) == (what, source, size)]
        rate = statistics.median(run.per_second for run in alike)
        of_messages = statistics.median(run.messages / run.seconds for run in alike)
        peak = max(run.peak_mib for run in alike)
        yield f"{what:<14}{source:<10}{size:>10,}{rate:>12,.0f}{of_messages:>12,.0f}{peak:>10,.0f}"
    for against, sizes in fold_ratios(runs).items():
        for size, values in sizes.items():
            spread = f"{min(values):.2f} to {max(values):.2f}, {len(values)} pairs"
            yield f"fold / {against}, {size:,} messages: {statistics.median(values):.2f} ({spread})"
