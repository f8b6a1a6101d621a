"""One measurement: a load on one backend, the figures of it, and what the database holds afterwards."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from backbone.database.engine import Database
from backbone.database.tables import messages, outbox
from bench.failure import MeasurementFailed
from bench.figures import Measurement, percentile
from bench.http_client import LoadGenerator, Tally
from bench.server import HOST, RunningService
from bench.workload import Workload

WARM_UP_S = 1.0
_TOLD_WITHIN_S = 120.0
CREATED = 201


@dataclass(frozen=True)
class Step:
    """One measurement."""

    workload: Workload
    connections: int
    pair: int
    group_commit: str

    def __str__(self) -> str:
        return f"{self.workload.name}, {self.connections} connections, group commit {self.group_commit}"


@dataclass(frozen=True)
class Load:
    """What came of the warm-up and of the load, and the CPU seconds that the load took on both sides."""

    warm_up: Tally
    measured: Tally
    server_cpu_s: float | None
    own_cpu_s: float


async def measure(
    step: Step, name: str, backend: RunningService, database: Database, seconds: float
) -> Measurement:
    """Put the load on the backend, in channels named after `name`; return once the log has every event.

    Raises MeasurementFailed.
    """
    load_average = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    requests = step.workload.requests(name, f"{HOST}:{backend.port}")
    load = await put_load(requests, CREATED, step.connections, backend, seconds)
    untold = await _untold(database)
    await _until_told(database, backend)
    warm_up, measured = load.warm_up, load.measured
    elapsed_s = measured.elapsed_ns / 1e9
    ascending = sorted(measured.latencies_ns)
    return Measurement(
        workload=step.workload.name,
        channels=step.workload.channels,
        authors=step.workload.authors,
        connections=step.connections,
        group_commit=step.group_commit,
        pair=step.pair,
        seconds=round(elapsed_s, 3),
        acknowledged=measured.acknowledged,
        warm_up=warm_up.acknowledged,
        other_answers=warm_up.others.total() + measured.others.total(),
        lost=warm_up.lost + measured.lost,
        per_second=round(measured.acknowledged / elapsed_s, 1),
        p50_ms=in_ms(percentile(ascending, 50)),
        p95_ms=in_ms(percentile(ascending, 95)),
        p99_ms=in_ms(percentile(ascending, 99)),
        stored=await _stored(database, step.workload.channel_ids(name)),
        untold_events=untold,
        server_cpu_ms_per_post=ms_each(load.server_cpu_s, measured.acknowledged),
        generator_cpu_percent=round(load.own_cpu_s / elapsed_s * 100, 1),
        load_average=load_average,
    )


async def put_load(
    requests: Iterator[bytes],
    counted: int,
    connections: int,
    server: RunningService,
    seconds: float,
    warm_up_s: float = WARM_UP_S,
) -> Load:
    """Warm a server up and put the load on it; answers of the status `counted` count.

    Raises MeasurementFailed.
    """
    generator = LoadGenerator(requests, counted)
    try:
        await generator.connect(HOST, server.port, connections)
        warm_up = await generator.run(warm_up_s)
        server_before_s, own_before_s = server.cpu_s(), time.process_time()
        measured = await generator.run(seconds)
        server_s, own_s = server.cpu_s(), time.process_time()
    except OSError as error:
        raise MeasurementFailed(f"the {server.name} takes no connection: {error.strerror}") from error
    finally:
        generator.close()
    server_cpu_s = None if server_s is None or server_before_s is None else server_s - server_before_s
    return Load(warm_up, measured, server_cpu_s, own_s - own_before_s)


def in_ms(time_ns: int) -> float:
    """Return nanoseconds as milliseconds."""
    return round(time_ns / 1e6, 2)


def ms_each(seconds: float | None, number: int) -> float | None:
    """Return the milliseconds that each of so many took; None where that is not known."""
    return None if seconds is None or not number else round(seconds * 1000 / number, 3)


async def _stored(database: Database, channel_ids: list[str]) -> int:
    query = select(func.count()).select_from(messages).where(messages.c.channel_id.in_(channel_ids))
    async with database.reading() as connection:
        return int((await connection.execute(query)).scalar_one())


async def _untold(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(outbox))).scalar_one())


async def _until_told(database: Database, backend: RunningService) -> None:
    """Wait until the log has every event, so that no measurement inherits work from the one before."""
    deadline_s = time.monotonic() + _TOLD_WITHIN_S
    while await _untold(database):
        backend.require_running()
        if time.monotonic() > deadline_s:
            raise MeasurementFailed(f"the outbox was not empty {_TOLD_WITHIN_S:g} s after a load")
        await asyncio.sleep(0.1)
