"""Measurements for people and programs: a table, a CSV file, JSON."""

import csv
import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from backbone.errors import SetupError
from bench.figures import Measurement, ratios

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COLUMNS = tuple(field.name for field in dataclasses.fields(Measurement))


class Sheet(Protocol):
    """Where measurements are written down as they come."""

    def add(self, measurement: "DataclassInstance") -> None:
        """Write one row, at once."""


@contextmanager
def csv_sheet(path: Path, kind: "type[DataclassInstance]" = Measurement) -> Iterator[Sheet]:
    """Open a CSV file for the block, with a line of the names of this kind's fields.

    Raises SetupError where that cannot be.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise SetupError(f"--csv: cannot write {path}: {error.strerror}; name another file") from error
    with file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(kind)])
        writer.writeheader()

        class Written:
            def add(self, measurement: "DataclassInstance") -> None:
                writer.writerow(dataclasses.asdict(measurement))
                file.flush()

        yield Written()


def machine(database: str, eventlog: str, cores: str) -> dict[str, str]:
    """Return what the figures depend on, beside the code."""
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "database": database,
        "event log": eventlog,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores,
        "load average at the start": load,
    }


def as_json(surroundings: dict[str, str], measurements: Sequence[Measurement]) -> str:
    """Return everything as one JSON object."""
    document: dict[str, Any] = {
        "machine": surroundings,
        "measurements": [dataclasses.asdict(measurement) for measurement in measurements],
        "ratios": [dataclasses.asdict(ratio) for ratio in ratios(measurements)],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def table(surroundings: dict[str, str], measurements: Sequence[Measurement]) -> list[str]:
    """Return the lines of the table: a row for each kind of measurement, the median of its repeats."""
    lines = [f"{name}: {value}" for name, value in surroundings.items()]
    lines += ["", _row("workload", "connections", "group commit", "posts/s", "p50 ms", "p95 ms", "p99 ms")]
    kinds = dict.fromkeys((m.workload, m.connections, m.group_commit) for m in measurements)
    of_kind = {
        kind: [m for m in measurements if (m.workload, m.connections, m.group_commit) == kind]
        for kind in kinds
    }
    for (workload, connections, group_commit), same in of_kind.items():
        times = (_median([getattr(m, name) for m in same]) for name in ("p50_ms", "p95_ms", "p99_ms"))
        rate = f"{_median([m.per_second for m in same]):,.0f}"
        lines.append(
            _row(workload, str(connections), group_commit, rate, *(f"{time:,.1f}" for time in times))
        )
    lines += ["", "posts/s with group commit to those without, pair by pair:"]
    for ratio in ratios(measurements):
        spread = f" ({ratio.least:.2f} to {ratio.most:.2f}, {ratio.pairs} pairs)" if ratio.pairs > 1 else ""
        lines.append(f"  {ratio.workload:<8} {ratio.connections:>5} connections {ratio.median:>6.2f}{spread}")
    lines += _remarks(measurements)
    return lines


def _remarks(measurements: Sequence[Measurement]) -> list[str]:
    """Return what a reader must know before believing the table."""
    remarks = []
    others, lost = sum(m.other_answers for m in measurements), sum(m.lost for m in measurements)
    if others or lost:
        remarks.append(
            f"{others:,} answers were not 201 and {lost:,} requests had none; they are not counted"
        )
    busy = max((m.generator_cpu_percent for m in measurements), default=0.0)
    if busy > 90:
        remarks.append(f"the load generator was busy {busy:.0f}% of the time: it may be what limits")
    return ["", *remarks] if remarks else []


def _row(workload: str, connections: str, group_commit: str, *figures: str) -> str:
    return f"{workload:<8} {connections:>11}  {group_commit:<12}" + "".join(f"{f:>10}" for f in figures)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
