"""`maeari bench write`: acknowledged posts per second and their latencies, with group commit and without.

Guarantees: each measurement has a backend of its own on scratch stores, the two kinds take turns, only
answers 201 count, and after each one the database must hold as many messages as were acknowledged.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from backbone.database.engine import Database
from backbone.progress import Progress, shown_progress
from backbone.settings import Settings
from backbone.wiring import open_database
from bench.cores import Cores, own_core
from bench.failure import MeasurementFailed
from bench.figures import Measurement
from bench.measurement import Step, measure
from bench.report import Sheet, as_json, csv_sheet, machine, table
from bench.scratch import scratch_stores
from bench.server import running_backend
from bench.workload import Workload

FAILED = 1
_BATCH_MAX = {"on": 256, "off": 1}
# The number of connections that the ratio is quoted for is measured more often.
_QUOTED_CONNECTIONS = 64
_QUOTED_PAIRS = 3


@dataclass(frozen=True)
class Plan:
    """What is measured; `repeats` None means 3 pairs at 64 connections and 1 elsewhere."""

    connections: tuple[int, ...] = (1, 16, 64, 256)
    seconds: float = 5.0
    repeats: int | None = None
    channels: int = 100
    authors: int = 1_000
    hot: bool = True

    def steps(self) -> list[Step]:
        """Return the measurements in their order: with and without group commit in turns."""
        workloads = [Workload("spread", self.channels, self.authors)]
        if self.hot:
            workloads.append(Workload("hot", 1, self.authors))
        return [
            Step(workload, connections, pair, group_commit)
            for workload in workloads
            for connections in self.connections
            for pair in range(1, self.pairs(connections) + 1)
            for group_commit in ("on", "off")
        ]

    def pairs(self, connections: int) -> int:
        """Return how many pairs are measured with so many connections."""
        return self.repeats or (_QUOTED_PAIRS if connections == _QUOTED_CONNECTIONS else 1)


async def run(settings: Settings, plan: Plan, csv: Path, json: bool) -> int:
    """Measure; print the table or JSON on stdout, write the CSV as it goes. Return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    measurements: list[Measurement] = []
    with csv_sheet(csv) as sheet, shown_progress() as progress, own_core() as cores:
        async with scratch_stores(settings) as stores:
            database = open_database(stores)
            try:
                surroundings = machine(await _version(database), _kind_of_log(stores), str(cores))
                await _measure_all(stores, database, plan, cores, progress, sheet, measurements)
            except MeasurementFailed as error:
                sys.stderr.write(f"maeari: {error}\n")
                return FAILED
            finally:
                await database.close()
    lines = [as_json(surroundings, measurements)] if json else table(surroundings, measurements)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stderr.write(f"written to {csv}\n")
    return 0


async def _measure_all(
    stores: Settings,
    database: Database,
    plan: Plan,
    cores: Cores,
    progress: Progress,
    sheet: Sheet,
    measurements: list[Measurement],
) -> None:
    steps = plan.steps()
    for number, step in enumerate(steps, 1):
        progress.step(f"{number} of {len(steps)}: {step}")
        batch_max = _BATCH_MAX[step.group_commit]
        async with running_backend(stores, cores.server, BATCH_MAX=batch_max) as backend:
            measurement = await measure(step, f"bench-{number}", backend, database, plan.seconds)
        sheet.add(measurement)
        measurements.append(measurement)
        if disagreement := measurement.disagreement():
            raise MeasurementFailed(disagreement)


async def _version(database: Database) -> str:
    question = "SELECT sqlite_version()" if database.embedded else "SHOW server_version"
    async with database.reading() as connection:
        version = str((await connection.execute(text(question))).scalar_one())
    return f"SQLite {version}" if database.embedded else f"PostgreSQL {version}"


def _kind_of_log(settings: Settings) -> str:
    return "Kafka" if settings.eventlog_url.startswith("kafka://") else "embedded"
