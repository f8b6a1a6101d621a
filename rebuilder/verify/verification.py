"""Compares the stores: a sweep over all, then looks at the channels in which they differ.

Guarantees: changes nothing anywhere; what is named as different is so, whatever is written meanwhile, and
channels whose digests agreed were the same at some moment of the sweep.
"""

import asyncio
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from backbone.eventlog import EventLog, TopicPartition
from backbone.eventlog.topic_state import require
from backbone.progress import Progress
from backbone.wiring import Ports
from rebuilder.verify.judging import ARCHIVE, DATABASE, LOG, STATE
from rebuilder.verify.looks import EVENT_TOPICS, Stores, beginnings, look_at
from rebuilder.verify.partitions import Bounds
from rebuilder.verify.reading import ArchiveSource
from rebuilder.verify.report import Report
from rebuilder.verify.stores import DatabaseSource, IndexSource
from rebuilder.verify.summing_up import Differences, Measured, sum_up
from rebuilder.verify.sweep import Found, Sweep
from rebuilder.verify.workers import Workers
from schemas.clock import format_ms
from schemas.topics import GROUP_INDEXER, MESSAGE_TOPICS, MESSAGES_STATE, REPLAY_HORIZON_MS, partition_of

# So many messages of channels that differ are looked at together.
LOOKED_AT_ONCE = 150_000


@dataclass(frozen=True)
class Ways:
    """How to compare: `timeout_s` bounds the wait for what is behind, `now_ms` says what may be purged."""

    timeout_s: float
    now_ms: int
    every_digest: bool = False


class Verification:
    """One comparison. `archive` is None where none is in use, `workers` where this process does all."""

    def __init__(
        self,
        ports: Ports,
        archive: ArchiveSource | None,
        ways: Ways,
        progress: Progress,
        workers: Workers | None = None,
    ) -> None:
        self._workers = workers
        self._eventlog: EventLog = ports.eventlog
        self._ports = ports
        self._archive = archive
        self._ways = ways
        self._progress = progress
        self._purged_before = format_ms(ways.now_ms - REPLAY_HORIZON_MS)
        self._database = DatabaseSource(ports.database, ways.timeout_s)
        self._index = IndexSource(ports.search, ways.timeout_s)
        self._partitions = 0

    async def run(self) -> Report:
        """Compare. Raises Unavailable or SetupError, alone or in a group."""
        started_s = time.monotonic()
        await self._ask_all()
        found = await self._swept()
        differences = Differences()
        if suspects := found.suspects():
            self._progress.step("look at channels", len(suspects))
            stores = self._stores(found, asyncio.get_running_loop().time() + self._ways.timeout_s)
            for partitions, channels in self._parts(found, suspects):
                differences.note(await look_at(stores, partitions, channels))
                self._progress.advance(len(channels))
        measured = await self._measured()
        report = sum_up(found, suspects, differences, measured, every_digest=self._ways.every_digest)
        return replace(report, seconds=round(time.monotonic() - started_s, 3))

    async def _ask_all(self) -> None:
        """Ask each store once: one that is down is told at once. Raises Unavailable or SetupError."""
        topics = await self._eventlog.topics()
        require(topics, (*MESSAGE_TOPICS, MESSAGES_STATE), self._eventlog.full_name)
        self._partitions = max(topics[topic.name].partitions for topic in MESSAGE_TOPICS)
        await self._ports.database.ask()
        await self._ports.search.current()
        if self._archive is not None:
            await self._archive.places(EVENT_TOPICS)

    async def _swept(self) -> Found:
        reader = await self._eventlog.reader(MESSAGE_TOPICS)
        try:
            earliest = await beginnings(self._eventlog, reader)
        finally:
            await reader.close()
        bounds = Bounds(self._partitions, earliest, self._purged_before, self._ways.timeout_s)
        sweep = Sweep(
            eventlog=self._eventlog,
            database=self._database,
            index=self._index,
            archive=self._archive,
            bounds=bounds,
            workers=self._workers,
            progress=self._progress,
        )
        return await sweep.run()

    async def _measured(self) -> Measured:
        """Ask how far the stores are by now. Raises Unavailable."""
        committed = await self._eventlog.committed(GROUP_INDEXER, MESSAGE_TOPICS)
        topics = await self._eventlog.topics()
        places = [
            TopicPartition(topic, partition)
            for topic in EVENT_TOPICS
            for partition in range(topics[topic].partitions)
        ]
        return Measured(
            earliest={place: max(0, topics[place.topic].earliest[place.partition]) for place in places},
            committed=committed,
            untold=await self._database.untold_count(),
            sources=self._sources(),
        )

    def _sources(self) -> dict[str, str]:
        """Return where the stores are, as people may see it."""
        sources = {
            DATABASE: self._ports.database.url.render_as_string(hide_password=True),
            LOG: self._eventlog.full_name("messages.*"),
            STATE: self._eventlog.full_name(MESSAGES_STATE.name),
        }
        return sources if self._archive is None else {**sources, ARCHIVE: self._archive.storage.url}

    def _stores(self, found: Found, until_s: float) -> Stores:
        return Stores(
            eventlog=self._eventlog,
            database=self._database,
            index=self._index,
            archive=None if found.archive is None else self._archive,
            coverage=found.coverage,
            partitions=self._partitions,
            purged_before=self._purged_before,
            patience_s=self._ways.timeout_s,
            until_s=until_s,
        )

    def _parts(self, found: Found, suspects: Collection[str]) -> Iterator[tuple[set[int], set[str]]]:
        """Yield channels that have not too many messages together, and the partitions that they lie in."""
        partitions: set[int] = set()
        channels: set[str] = set()
        messages = 0
        for partition, channel in sorted((self._partition(each, found), each) for each in suspects):
            more = found.most_messages(channel)
            if channels and messages + more > LOOKED_AT_ONCE:
                yield partitions, channels
                partitions, channels, messages = set(), set(), 0
            partitions |= set(range(self._partitions)) if found.misplaced else {partition}
            channels.add(channel)
            messages += more
        if channels:
            yield partitions, channels

    def _partition(self, channel: str, found: Found) -> int:
        return 0 if found.misplaced else partition_of(channel, self._partitions)
