"""What reads the log: events indexed per second, states folded per second, from POST to a frame.

Guarantees: both contenders read the same records; each figure is of all of them, counted at the end.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from backbone.eventlog import EventLog
from backbone.settings import Settings
from backbone.wiring import open_eventlog
from bench.against_node.contenders import Contender, Node
from bench.against_node.elastic import Elastic, opened_elastic
from bench.against_node.figures import MAEARI, Figure
from bench.against_node.plan import at_rate
from bench.against_node.searchable import until_indexed
from bench.cores import Cores, on_core, pinned
from bench.crowd import Crowd
from bench.failure import MeasurementFailed
from bench.indexing import fresh_index, index_in_bulk
from bench.measured_process import ran
from bench.measurement import ms_each
from bench.notifying import Platform
from bench.rebuild_reading import Read, reading_command
from bench.server import environment

INDEXED, FOLDED, FOLDED_WHOLE = "events indexed", "states folded", "states folded, kept whole"
FRAME_P50, FRAME_P99 = "POST to frame, p50", "POST to frame, p99"
_LOOK_EVERY_S = 0.05
_COMES_WITHIN_S = 60.0
_MENTIONED = 50


@asynccontextmanager
async def opened_log(stores: Settings) -> AsyncIterator[EventLog]:
    """Open the log for the block."""
    eventlog = open_eventlog(stores)
    try:
        yield eventlog
    finally:
        await eventlog.close()


async def indexed_by_maeari(
    stores: Settings, eventlog: EventLog, pair: int, events: int, cores: Cores
) -> Figure:
    """Measure the product's indexer, in this process, on the core of those who are measured."""
    with on_core(cores.server):
        run = await index_in_bulk(stores, eventlog, events, pair)
    return Figure(
        what=INDEXED,
        contender=MAEARI,
        pair=pair,
        value=run.per_second,
        unit="events/s",
        counted=run.documents,
        seconds=run.seconds,
        cpu_ms_each=run.cpu_ms_per_document,
    )


async def indexed_by_node(node: Node, pair: int, events: int, cores: Cores) -> Figure:
    """Measure the guide's indexer, from its first document to its last, in an index of the same mapping."""
    alias = f"{node.stores.search_alias}-node-{pair}"
    own = replace(node, stores=replace(node.stores, search_alias=alias))
    async with (
        fresh_index(own.stores),
        opened_elastic(own.stores) as elastic,
        own.indexer(cores.server) as indexer,
    ):
        began_s, cpu_s = await _first_document(elastic), indexer.cpu_s()
        while await elastic.written() < events:
            indexer.require_running()
            await asyncio.sleep(_LOOK_EVERY_S)
        seconds, after_s = time.perf_counter() - began_s, indexer.cpu_s()
        await until_indexed(elastic, events)
    return Figure(
        what=INDEXED,
        contender=node.name,
        pair=pair,
        value=round(events / seconds, 1),
        unit="events/s",
        counted=events,
        seconds=round(seconds, 3),
        cpu_ms_each=ms_each(None if cpu_s is None or after_s is None else after_s - cpu_s, events),
    )


async def _first_document(elastic: Elastic) -> float:
    """Return the last moment at which there was none."""
    deadline_s = time.perf_counter() + _COMES_WITHIN_S
    looked = time.perf_counter()
    while not await elastic.written():
        if looked > deadline_s:
            raise MeasurementFailed(f"no event was indexed within {_COMES_WITHIN_S:g} s")
        await asyncio.sleep(_LOOK_EVERY_S)
        looked = time.perf_counter()
    return looked


async def folded_by_maeari(
    stores: Settings, kind: str, what: str, pair: int, states: int, cores: Cores
) -> Figure:
    """Measure a fold of the state topic in a process of its own; `kind` is one of `bench.rebuild_reading`."""
    command = pinned(reading_command(kind), cores.server)
    return await _folded(command, environment(stores), what, MAEARI, pair, states)


async def folded_by_node(node: Node, what: str, pair: int, states: int, cores: Cores) -> Figure:
    """Measure the guide's rebuilder, from the moment at which it has joined its group."""
    command = pinned(node.folder.command("rebuilder.js"), cores.server)
    variables = node.environment(f"rebuilder-{what.replace(' ', '-').replace(',', '')}-{pair}")
    return await _folded(command, variables, what, node.name, pair, states)


async def _folded(
    command: tuple[str, ...], variables: dict[str, str], what: str, name: str, pair: int, states: int
) -> Figure:
    output, _ = await asyncio.to_thread(ran, command, variables)
    read = msgspec.json.decode(output, type=Read)
    if (read.records, read.messages) != (states, states):
        raise MeasurementFailed(
            f"{name} folded {read.messages:,} of {states:,} states, {read.records:,} records"
        )
    return Figure(
        what=what,
        contender=name,
        pair=pair,
        value=round(read.records / read.seconds, 1),
        unit="states/s",
        counted=read.messages,
        seconds=round(read.seconds, 3),
    )


async def told(contender: Contender, pair: int, rate: float, seconds: float, cores: Cores) -> list[Figure]:
    """Measure from POST to the frame at the socket of the user who is mentioned."""
    async with (
        contender.backend(cores.server) as backend,
        contender.notifier(cores.server) as (notifier, port),
    ):
        with Crowd(port) as crowd:
            platform = Platform(backend, notifier, crowd)
            await platform.add_idle(_MENTIONED)
            posts, warm_up = at_rate(rate, seconds)
            latency = await platform.latency(rate, posts, warm_up)
    return [
        Figure(
            what=what,
            contender=contender.name,
            pair=pair,
            value=round(value, 2),
            unit="ms",
            counted=latency.posts,
            seconds=round(latency.posts / latency.achieved_per_second, 3),
            asked_per_second=rate,
            p50_ms=latency.p50_ms,
            p99_ms=latency.p99_ms,
        )
        for what, value in ((FRAME_P50, latency.p50_ms), (FRAME_P99, latency.p99_ms))
    ]
