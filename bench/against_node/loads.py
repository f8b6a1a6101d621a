"""Loads on the backend of a contender: posts and searches per second, and posts at fixed moments.

Guarantees: a figure comes out only after the stores were found to hold what was acknowledged.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from bench.against_node.contenders import Contender, Question
from bench.against_node.elastic import Elastic
from bench.against_node.figures import Figure
from bench.against_node.instructions import instructions_of
from bench.against_node.ledger import Ledger
from bench.against_node.plan import at_rate, warm_up_s
from bench.against_node.questions import HITS, QUESTIONS, search_request
from bench.cores import Cores
from bench.failure import MeasurementFailed
from bench.figures import percentile
from bench.measurement import CREATED, in_ms, ms_each, put_load
from bench.measurement import Load as Answered
from bench.open_loop import Connection, post_at_moments
from bench.server import HOST, RunningService
from bench.workload import Workload, post_request, with_keys

POSTS = Workload("spread", channels=100, authors=1_000)
_OK = 200


@dataclass(frozen=True)
class Track:
    """Where loads are measured: the cores, and whether instructions can be counted."""

    cores: Cores
    instructions: bool


@dataclass(frozen=True)
class Load:
    """What a load is called in the figures, of which pair it is, how many connections put it on how long."""

    what: str
    pair: int
    connections: int
    seconds: float


async def posts(
    load: Load, contender: Contender, ledger: Ledger, track: Track, *, bus: bool = True
) -> Figure:
    """Measure acknowledged posts, each with an `Idempotency-Key`. Raises MeasurementFailed."""
    run = f"{contender.name}-{load.pair}-{'on' if bus else 'off'}"
    async with contender.backend(track.cores.server, bus=bus) as backend:
        requests = with_keys(POSTS.requests(run, f"{HOST}:{backend.port}"), run)
        answered, executed = await _put(load, requests, CREATED, backend, track)
        await ledger.require_tallies(answered.warm_up, answered.measured, bus=bus)
    return _figure(load, contender, answered, executed, "posts/s")


async def latencies(
    load: Load, posts_per_second: float, contender: Contender, ledger: Ledger, track: Track
) -> Figure:
    """Measure the p99 of posts from the moments at which they were due. Raises MeasurementFailed."""
    number, warm_up = at_rate(posts_per_second, load.seconds)
    run = f"{contender.name}-{load.pair}-fixed"
    lags_ns: list[int] = []

    def posted(moment: float, _message: Any) -> None:
        lags_ns.append(round((time.perf_counter() - moment) * 1e9))

    async with contender.backend(track.cores.server) as backend, AsyncExitStack() as stack:
        taking_turns = itertools.cycle(POSTS.channel_ids(run))
        bare = (
            post_request(f"{HOST}:{backend.port}", next(taking_turns), f"author-{n % POSTS.authors:05}", n)
            for n in itertools.count()
        )
        requests = with_keys(bare, run)
        for count in (warm_up, number):
            lags_ns.clear()
            # Anew: servers close what is idle while the stores are looked at.
            free = [await Connection.to(backend.port, stack) for _ in range(load.connections)]
            begun, cpu_s = time.perf_counter(), backend.cpu_s()
            await post_at_moments(free, posts_per_second, count, lambda _number: next(requests), posted)
            elapsed_s, after_s = time.perf_counter() - begun, backend.cpu_s()
            await ledger.require(count)
    ascending = sorted(lags_ns)
    return Figure(
        what=load.what,
        contender=contender.name,
        pair=load.pair,
        value=in_ms(percentile(ascending, 99)),
        unit="ms",
        counted=len(lags_ns),
        seconds=round(elapsed_s, 3),
        asked_per_second=round(posts_per_second, 1),
        p50_ms=in_ms(percentile(ascending, 50)),
        p99_ms=in_ms(percentile(ascending, 99)),
        cpu_ms_each=ms_each(None if after_s is None or cpu_s is None else after_s - cpu_s, number),
    )


async def searches(
    load: Load, contender: Contender, elastic: Elastic, track: Track, *, question: Question = "own"
) -> Figure:
    """Measure searches of one word for twenty hits. Raises MeasurementFailed where an answer has fewer."""
    async with contender.backend(track.cores.server, question=question) as backend:
        await _require_hits(backend)
        before_ms = await elastic.search_ms()
        requests = itertools.cycle([search_request(backend.port, words) for words in QUESTIONS])
        answered, executed = await _put(load, requests, _OK, backend, track)
        search_ms = await elastic.search_ms() - before_ms
        await _require_hits(backend)
        tallies = (answered.warm_up, answered.measured)
        if others := sum(each.others.total() + each.lost for each in tallies):
            raise MeasurementFailed(f"{contender.name}: {others:,} searches were not answered with 200")
    answers = sum(each.acknowledged for each in tallies)
    took_ms = ms_each(search_ms / 1000, answers)
    return _figure(load, contender, answered, executed, "searches/s", took_ms)


async def _put(
    load: Load, requests: Iterator[bytes], counted: int, backend: RunningService, track: Track
) -> tuple[Answered, int | None]:
    """Put the load on; return it, and the instructions executed for an answer, the warm-up's among them."""
    async with instructions_of(backend.process.pid, track.instructions) as instructions:
        answered = await put_load(
            requests, counted, load.connections, backend, load.seconds, warm_up_s(load.seconds)
        )
    answers = answered.warm_up.acknowledged + answered.measured.acknowledged
    if not answered.measured.acknowledged:
        raise MeasurementFailed(f"the {backend.name} acknowledged nothing in {load.seconds:g} s")
    return answered, None if instructions.counted is None else instructions.counted // answers


def _figure(
    load: Load,
    contender: Contender,
    answered: Answered,
    instructions_each: int | None,
    unit: str,
    search_ms_each: float | None = None,
) -> Figure:
    measured = answered.measured
    ascending = sorted(measured.latencies_ns)
    return Figure(
        what=load.what,
        contender=contender.name,
        pair=load.pair,
        value=round(measured.acknowledged / measured.elapsed_ns * 1e9, 1),
        unit=unit,
        counted=measured.acknowledged,
        seconds=round(measured.elapsed_ns / 1e9, 3),
        p50_ms=in_ms(percentile(ascending, 50)),
        p99_ms=in_ms(percentile(ascending, 99)),
        cpu_ms_each=ms_each(answered.server_cpu_s, measured.acknowledged),
        instructions_each=instructions_each,
        search_ms_each=search_ms_each,
    )


async def _require_hits(backend: RunningService) -> None:
    async with AsyncExitStack() as stack:
        connection = await Connection.to(backend.port, stack)
        for question in QUESTIONS:
            _, hits = await connection.ask(search_request(backend.port, question), _OK)
            if len(hits) != HITS or not all(hit["_source"]["content"] for hit in hits):
                raise MeasurementFailed(f"the {backend.name} found {len(hits)} of {HITS} hits of {question}")
