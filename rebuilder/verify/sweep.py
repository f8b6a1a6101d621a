"""The sweep: each store is read once, beside the others, and the digests of its channels are taken.

Guarantees: in memory are the digests, and of the log, its states and the archive the rows of one partition
each. While writes go on the stores are read at different moments: where digests agree the channels were the
same, where they do not it is yet to be found out why.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from backbone.eventlog import EventLog, TopicPartition
from backbone.progress import Progress
from rebuilder.digest import ChannelDigest, Digests
from rebuilder.patience import patiently
from rebuilder.verify.canonical import hash_of, hash_of_document
from rebuilder.verify.folding import Problems
from rebuilder.verify.partitions import Bounds, Kind, Sums, sum_up_partition
from rebuilder.verify.reading import ArchiveSource, Coverage
from rebuilder.verify.stores import DatabaseSource, IndexSource
from rebuilder.verify.workers import WORTH_IT_RECORDS, Workers
from schemas.topics import MESSAGE_TOPICS, MESSAGES_STATE


@dataclass
class Found:
    """What the sweep found. Digests `as_…` are the log's, of what that store keeps of it.

    `archive` is None where nothing is archived; `coverage` what could be read of it. For the rest see Sums.
    """

    database: Digests = field(default_factory=Digests)
    log: Digests = field(default_factory=Digests)
    as_indexed: Digests = field(default_factory=Digests)
    as_state: Digests = field(default_factory=Digests)
    state: Digests = field(default_factory=Digests)
    index: Digests = field(default_factory=Digests)
    archive: Digests | None = None
    index_name: str | None = None
    coverage: dict[TopicPartition, Coverage] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    records: dict[str, int] = field(default_factory=dict)
    read: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    misplaced: bool = False

    def take(self, kind: Kind, sums: Sums) -> None:
        """Take in what was found of one partition."""
        match kind:
            case "log":
                self.log.add_all(sums.whole)
                self.as_indexed.add_all(sums.as_indexed)
                self.as_state.add_all(sums.as_state)
            case "state":
                self.state.add_all(sums.as_state)
            case "archive":
                self.archive = self.archive or Digests()
                self.archive.add_all(sums.whole)
        self.problems.add_all(sums.problems)
        self.records[kind] = self.records.get(kind, 0) + sums.records
        self.read.update(sums.read)
        self.ends.update(sums.ends)
        self.coverage.update(sums.coverage)
        self.misplaced = self.misplaced or sums.misplaced

    def suspects(self) -> set[str]:
        """Return the channels that are not the same in all stores."""
        found = {
            *self.log.differing(self.database),
            *self.as_indexed.differing(self.index),
            *self.as_state.differing(self.state),
        }
        return found if self.archive is None else {*found, *self.log.differing(self.archive)}

    def most_messages(self, channel: str) -> int:
        """Return how many messages of a channel the store holds that holds the most."""
        of_all = (self.database, self.log, self.state, self.index, self.archive or Digests())
        return max(digests.of(channel).messages for digests in of_all)


@dataclass(frozen=True)
class Sweep:
    """Reads the stores; with `workers`, and where there is much to read, partitions in other processes."""

    eventlog: EventLog
    database: DatabaseSource
    index: IndexSource
    archive: ArchiveSource | None
    bounds: Bounds
    workers: Workers | None
    progress: Progress

    async def run(self) -> Found:
        """Read all stores side by side. Raises Unavailable, alone or in a group."""
        found, ahead = Found(), await self._records_ahead()
        self.progress.step("compare: records of the log", ahead)
        workers = self.workers if ahead >= WORTH_IT_RECORDS else None
        archived: set[int] = set()
        if self.archive is not None:
            places = await self.archive.places([topic.name for topic in MESSAGE_TOPICS])
            archived = {place.partition for place in places}
        every = range(self.bounds.partitions)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_database(found))
            tasks.create_task(self._read_index(found))
            tasks.create_task(self._sum_up("log", every, found, workers))
            tasks.create_task(self._sum_up("state", every, found, workers))
            tasks.create_task(self._sum_up("archive", sorted(archived), found, workers))
        return found

    async def _records_ahead(self) -> int:
        reader = await self.eventlog.reader((*MESSAGE_TOPICS, MESSAGES_STATE))
        try:
            return sum((await patiently(reader.end_offsets, self.bounds.patience_s)).values())
        finally:
            await reader.close()

    async def _read_database(self, found: Found) -> None:
        async for message_id, facts in self.database.messages():
            found.database.add(facts.channel, hash_of(message_id, facts), facts.deleted)

    async def _read_index(self, found: Found) -> None:
        found.index_name = await self.index.name()
        digests = Digests(self.bounds.purged_before)
        async for message_id, document in self.index.documents():
            if digests.counts(document):
                digests.add(document.channel, hash_of_document(message_id, document), document.deleted)
        found.index = digests

    async def _sum_up(
        self, kind: Kind, partitions: Collection[int], found: Found, workers: Workers | None
    ) -> None:
        """Sum partitions up: one after the other, or as many at a time as there are workers."""
        if workers is None:
            told = self.progress.advance
            for partition in partitions:
                work = sum_up_partition(kind, self.eventlog, self.archive, partition, self.bounds, told)
                found.take(kind, await work)
            return

        async def in_worker(partition: int) -> None:
            sums = await workers.sum_up(kind, partition, self.bounds)
            found.take(kind, sums)
            self.progress.advance(sum(sums.read.values()))

        async with asyncio.TaskGroup() as tasks:
            for partition in partitions:
                tasks.create_task(in_worker(partition))


def channels_of(found: Found, names: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the digests of channels as text, by channel and store."""
    stores = {"database": found.database, "log": found.log, "state": found.state, "index": found.index}
    stores |= {"log_as_indexed": found.as_indexed, "log_as_state": found.as_state}
    if found.archive is not None:
        stores["archive"] = found.archive
    nothing = ChannelDigest()
    return {
        name: {
            store: str(digests.of(name)) for store, digests in stores.items() if digests.of(name) != nothing
        }
        for name in names
    }
