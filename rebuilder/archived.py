"""The log with its past out of the archive: readers begin in the archive's files and go on in the log.

Guarantees: every offset from 0 on is read once, in order by partition. A file that is damaged, offsets
that neither archive nor log has, and the archive of another log raise Unfit: before the first record where
that can be known, else before any record behind. In memory is one file.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from backbone.archive import Damaged, Missing, NotStored
from backbone.archive.reading import Archive, Bounds
from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, EventLog, Reader, Record, TopicPartition, TopicState
from backbone.eventlog.reading import STUCK_S
from rebuilder.refusal import Refusal
from schemas.topics import ALL_TOPICS, GROUP_ARCHIVER, STREAM_TOPICS, Topic

T = TypeVar("T")

# A transaction that was committed leaves one behind its records.
MARKERS = 1
_SEE = "see `maeari archive check`; --from events needs the log alone"


class Unfit(Refusal):
    """The archive cannot be read on; the text is one line: which file or offsets, and what can be done."""


class ArchivedLog:
    """As much of an event log as rebuilds read, see Log in rebuilder.readers."""

    def __init__(self, eventlog: EventLog, archive: Archive, url: str) -> None:
        """`url` is for people."""
        self._eventlog = eventlog
        self._archive = archive
        self._url = url

    async def check(self) -> None:
        """Raise Unfit where the archive has no events of channels, or partitions that the log has not."""
        states, found = await self._eventlog.topics(), False
        for topic in STREAM_TOPICS:
            partitions = await _looked(partial(self._archive.partitions, topic.name))
            found = found or bool(partitions)
            there = states[topic.name].partitions if topic.name in states else 0
            if beyond := [number for number in partitions if number >= there]:
                raise Unfit(
                    f"{self._eventlog.full_name(topic.name)} has {there} partitions, the archive at"
                    f" {self._url} has partition {beyond[0]}: it is the archive of another log"
                )
        if not found:
            raise Unfit(
                f"the archive at {self._url} holds no events: see MAEARI_ARCHIVE_URL,"
                " and let `maeari archiver` run"
            )

    async def reader(self, topics: Sequence[Topic], partitions: Collection[int] | None = None) -> Reader:
        """Open a reader at the beginning of the archive. Raises as the log's does."""
        reader = await self._eventlog.reader(topics, partitions)
        return ArchivedReader(self._eventlog, self._archive, reader)

    async def topics(self) -> Mapping[str, TopicState]:
        """Return the log's topics; those that are kept for ever begin where their archive does."""
        states = dict(await self._eventlog.topics())
        for name in [topic.name for topic in ALL_TOPICS if topic.cleanup == "keep" and topic.name in states]:
            state = states[name]
            bounds = [await _looked(partial(self._archive.bounds, name, n)) for n in range(state.partitions)]
            begins = zip(bounds, state.earliest, strict=True)
            earliest = tuple(archived.first if archived.end else first for archived, first in begins)
            states[name] = replace(state, earliest=earliest)
        return states

    async def committed(self, group: str, topics: Sequence[Topic]) -> Mapping[TopicPartition, int]:
        """Return the committed offsets of a group, 0 where there is none."""
        return await self._eventlog.committed(group, topics)


class ArchivedReader:
    """See Reader: one partition's files after the other, then the log."""

    def __init__(self, eventlog: EventLog, archive: Archive, log: Reader) -> None:
        self._eventlog = eventlog
        self._archive = archive
        self._log = log
        self._positions = dict.fromkeys(log.positions(), 0)
        self._ends: dict[TopicPartition, int] | None = None
        self._in_log = False
        self._batches: Iterator[list[Record]] | None = None
        self._waiting: list[Record] = []

    async def end_offsets(self, undecided: bool = False) -> Mapping[TopicPartition, int]:
        """See Reader: the ends of the log."""
        return await self._log.end_offsets(undecided)

    def positions(self) -> Mapping[TopicPartition, int]:
        """See Reader."""
        return self._log.positions() if self._in_log else dict(self._positions)

    async def read(self, max_records: int, timeout_s: float) -> list[Record]:
        """See Reader. Raises Unfit, too."""
        if self._in_log:
            return await self._log.read(max_records, timeout_s)
        if self._ends is None:
            self._ends = await self._checked_ends()
        for place, end in self._ends.items():
            if self._positions[place] < end:
                return await self._of_files(place, end, max_records)
        # Meanwhile the log may have been trimmed.
        await self._check_joined(self._ends)
        self._log.seek(self._positions)
        self._in_log = True
        return await self._log.read(max_records, timeout_s)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader."""
        now = dict(self.positions())
        changed = {place: at for place, at in positions.items() if now.get(place, at) != at}
        if not changed:
            return
        self._positions = now | changed
        self._in_log, self._ends = False, None
        self._batches, self._waiting = None, []

    async def seek_to_end(self) -> None:
        """See Reader."""
        await self._log.seek_to_end()
        self._in_log = True

    async def close(self) -> None:
        """See Reader."""
        await self._log.close()

    async def _of_files(self, place: TopicPartition, end: int, max_records: int) -> list[Record]:
        if not self._waiting:
            self._waiting = await self._next_batch(place, end)
            if not self._waiting:
                self._positions[place] = end
                self._batches = None
        taken, self._waiting = self._waiting[:max_records], self._waiting[max_records:]
        if taken:
            self._positions[place] = taken[-1].offset + 1
        if self._positions[place] >= end:
            self._batches = None
        return taken

    async def _next_batch(self, place: TopicPartition, end: int) -> list[Record]:
        batches = self._batches
        if batches is None:
            batches = self._archive.records(place.topic, place.partition, self._positions[place], end)
        # Whoever is cancelled or fails in between begins anew, at the position.
        self._batches = None
        batch: list[Record] = await _looked(partial(next, batches, []))
        self._batches = batches
        return batch

    async def _checked_ends(self) -> dict[TopicPartition, int]:
        """Return where the archive ends by partition, once it is known to be of this log."""
        bounds: dict[TopicPartition, Bounds] = {}
        for place in self._positions:
            bounds[place] = await _looked(partial(self._archive.bounds, *place))
        ends = {place: each.end for place, each in bounds.items()}
        await self._check_joined(ends)
        await self._check_same(bounds)
        return ends

    async def _check_joined(self, ends: Mapping[TopicPartition, int]) -> None:
        """Raise Unfit where the log ends before the archive, or begins after it."""
        states = await self._eventlog.topics()
        for place, end in ends.items():
            state, name = states[place.topic], self._name(place)
            first, last = state.earliest[place.partition], state.end[place.partition]
            if min(first, last) < 0:
                raise Unavailable(DEPENDENCY, f"{name} has no leader")
            if end > last:
                raise Unfit(
                    f"{name}: the archive goes to offset {end - 1}, the log to {last - 1}:"
                    " it is the archive of another log; see MAEARI_ARCHIVE_URL"
                )
            at = max(end, self._positions[place])
            if first > at and not (end and first - at <= MARKERS and await self._archived_to(place, first)):
                raise Unfit(
                    f"{name}: offsets {at} to {first - 1} are neither in the archive, which ends there,"
                    f" nor in the log, which begins with {first}: what they told cannot be restored from here"
                )

    async def _archived_to(self, place: TopicPartition, first: int) -> bool:
        """Say whether the archiver had come that far: then a marker of a transaction lies between.

        Where more lies between the archive has lost its end, whatever the group has committed.
        """
        topic = next(each for each in ALL_TOPICS if each.name == place.topic)
        return (await self._eventlog.committed(GROUP_ARCHIVER, (topic,))).get(place, 0) >= first

    async def _check_same(self, bounds: Mapping[TopicPartition, Bounds]) -> None:
        """Raise Unfit where the archive's last record reads otherwise in the log, as far as that has it."""
        states = await self._eventlog.topics()
        last: dict[TopicPartition, Record] = {}
        for place, (_, end) in bounds.items():
            if self._positions[place] < end and states[place.topic].earliest[place.partition] < end:
                records = self._archive.records(place.topic, place.partition, end - 1, end)
                last[place] = (await _looked(partial(next, records)))[-1]
        self._log.seek(await self._log.end_offsets())
        self._log.seek({place: record.offset for place, record in last.items()})
        loop = asyncio.get_running_loop()
        until_s = loop.time() + STUCK_S
        while last:
            for record in await self._log.read(len(last), 0.5):
                place = record.topic_partition
                if place in last and record != last.pop(place):
                    self._differs(place, record.offset)
            for place, expected in last.items():
                if self._log.positions()[place] > expected.offset:
                    self._differs(place, expected.offset)
            if loop.time() > until_s:
                raise Unavailable(DEPENDENCY, "records that the archive has, too, did not come")

    def _differs(self, place: TopicPartition, offset: int) -> None:
        raise Unfit(
            f"{self._name(place)}: offset {offset} reads otherwise in the log:"
            " it is the archive of another log; see MAEARI_ARCHIVE_URL"
        )

    def _name(self, place: TopicPartition) -> str:
        return f"{self._eventlog.full_name(place.topic)}/{place.partition}"


async def _looked(look: Callable[[], T]) -> T:
    """Look into the archive in a thread. Raises Unavailable or Unfit."""
    try:
        return await asyncio.to_thread(look)
    except (Damaged, Missing, NotStored) as error:
        raise Unfit(f"{error}; {_SEE}") from error
