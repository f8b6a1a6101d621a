"""The sweep: each store is read once, beside the others, and the digests of its channels are taken.

Guarantees: in memory are the digests, and of the log, its states and the archive the rows of one partition
each. While writes go on the stores are read at different moments: where digests agree the channels were the
same, where they do not it is yet to be found out why.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from backbone.eventlog import EventLog, TopicPartition
from backbone.progress import Progress
from rebuilder.digest import ChannelDigest, Digests, message_hash
from rebuilder.patience import patiently
from rebuilder.verify.canonical import hash_of
from rebuilder.verify.folding import EventFold, Problems, Rows, StateFold
from rebuilder.verify.reading import ArchiveSource, Coverage, read_on
from rebuilder.verify.stores import DatabaseSource, IndexSource
from schemas.topics import MESSAGE_TOPICS, MESSAGES_STATE, Topic, partition_of

Coverages = Mapping[TopicPartition, Coverage]


@dataclass
class Found:
    """What the sweep found. Digests `as_…` are the log's, of what that store keeps of it.

    `archive` is None where nothing is archived; `coverage` what could be read of it. `misplaced` says that
    events of a channel lie in a partition that is not theirs. `read` are the offsets that were read up to,
    `ends` those behind the last record of the log's events.
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
    """Reads the stores. `purged_before`: what was deleted earlier neither the index nor the states need hold.

    `partitions` is how many each topic of messages has, `earliest` where the log begins now.
    """

    eventlog: EventLog
    database: DatabaseSource
    index: IndexSource
    archive: ArchiveSource | None
    partitions: int
    earliest: Mapping[TopicPartition, int]
    purged_before: str
    patience_s: float
    progress: Progress

    async def run(self) -> Found:
        """Read all stores side by side. Raises Unavailable, alone or in a group."""
        found = Found()
        found.as_indexed = Digests(self.purged_before)
        found.as_state = Digests(self.purged_before)
        self.progress.step("compare: records of the log", await self._records_ahead())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_database(found))
            tasks.create_task(self._read_events(found))
            tasks.create_task(self._read_states(found))
            tasks.create_task(self._read_index(found))
            tasks.create_task(self._read_archive(found))
        return found

    async def _records_ahead(self) -> int:
        reader = await self.eventlog.reader((*MESSAGE_TOPICS, MESSAGES_STATE))
        try:
            return sum((await patiently(reader.end_offsets, self.patience_s)).values())
        finally:
            await reader.close()

    async def _read_database(self, found: Found) -> None:
        async for message_id, facts in self.database.messages():
            found.database.add(facts.channel, hash_of(message_id, facts), facts.deleted)

    async def _read_index(self, found: Found) -> None:
        found.index_name = await self.index.name()
        async for message_id, document in self.index.documents():
            if found.as_indexed.counts(document):
                found.index.add(document.channel, message_hash(message_id, document), document.deleted)

    async def _read_events(self, found: Found) -> None:
        for partition in range(self.partitions):
            fold = EventFold(problems=found.problems)
            await self._read(MESSAGE_TOPICS, partition, fold, found)
            for row in fold.rows.values():
                deleted = row.deleted_at is not None
                found.log.add(row.channel, row.hashed, deleted)
                if row.deleted_at is None or row.deleted_at >= self.purged_before:
                    found.as_indexed.add(row.channel, row.indexed, deleted)
                    found.as_state.add(row.channel, row.hashed, deleted)
            found.ends.update(fold.ends)
            self._note_place(fold.rows, partition, found)

    async def _read_states(self, found: Found) -> None:
        for partition in range(self.partitions):
            fold = StateFold(problems=found.problems)
            await self._read((MESSAGES_STATE,), partition, fold, found)
            for row in fold.rows.values():
                if row.deleted_at is None or row.deleted_at >= self.purged_before:
                    found.state.add(row.channel, row.hashed, row.deleted_at is not None)
            self._note_place(fold.rows, partition, found)

    async def _read(
        self, topics: Sequence[Topic], partition: int, fold: EventFold | StateFold, found: Found
    ) -> None:
        """Read a partition of some topics to their ends."""
        reader = await self.eventlog.reader(topics, {partition})
        try:
            ends = await patiently(reader.end_offsets, self.patience_s)
            await read_on(reader, ends, fold.take, self.patience_s, self.progress.advance)
            found.read.update(reader.positions())
        finally:
            await reader.close()
        name = "log" if isinstance(fold, EventFold) else "state"
        found.records[name] = found.records.get(name, 0) + fold.records

    async def _read_archive(self, found: Found) -> None:
        if self.archive is None:
            return
        places = await self.archive.places([topic.name for topic in MESSAGE_TOPICS])
        if not places:
            return
        found.archive = Digests()
        for partition in sorted({place.partition for place in places}):
            fold = EventFold()
            for place in places:
                if place.partition == partition:
                    found.coverage[place] = await self.archive.read(*place, fold.take)
            for row in fold.rows.values():
                found.archive.add(row.channel, row.hashed, row.deleted_at is not None)
            found.records["archive"] = found.records.get("archive", 0) + fold.records
            self._note_place(fold.rows, partition, found)
            self._note_lost(fold.problems, found)

    def _note_lost(self, problems: Problems, found: Found) -> None:
        """Name the archive's bad records that the log does not have any more, and so does not name."""
        for problem in problems.named:
            place = TopicPartition(problem.topic, problem.partition)
            if problem.offset < self.earliest.get(place, 0):
                found.problems.add(problem)

    def _note_place(self, rows: Rows, partition: int, found: Found) -> None:
        channels = {row.channel for row in rows.values()}
        if any(partition_of(channel, self.partitions) != partition for channel in channels):
            found.misplaced = True


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
