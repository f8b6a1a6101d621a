"""Reading for a comparison: the log up to given ends, the archive over what lacks in it.

Guarantees: what cannot be read of the archive is told by its offsets, and the rest is read all the same; in
memory is a batch, a page, or one file of the archive.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from backbone.archive import Damaged, Missing, NotStored, Storage
from backbone.archive.manifest import entry_paths, partitions, read_entry
from backbone.archive.reading import records_of
from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Reader, Record, TopicPartition
from rebuilder.database.loading import missing
from rebuilder.patience import patiently

READ_AT_ONCE = 2_000
_STUCK_S = 60.0

Told = Callable[[int], None]
"""Hears of so many offsets that were passed."""


async def read_on(
    reader: Reader,
    ends: Mapping[TopicPartition, int],
    take: Callable[[Record], None],
    patience_s: float,
    told: Told = lambda _offsets: None,
) -> None:
    """Read until the reader's positions have reached the ends. Raises Unavailable."""
    left, moved_s = missing(reader, ends), time.monotonic()
    while left:
        records = await patiently(partial(reader.read, READ_AT_ONCE, 1.0), patience_s)
        for record in records:
            take(record)
        before, left = left, missing(reader, ends)
        told(before - left)
        if records or left < before:
            moved_s = time.monotonic()
            # A log that has its records at hand would never let others work.
            await asyncio.sleep(0)
        elif time.monotonic() - moved_s > _STUCK_S:
            raise Unavailable(DEPENDENCY, f"{left} records are still to be read, and none came")


@dataclass(frozen=True)
class Unreadable:
    """Offsets that the archive does not give, both among them; `lost` where it had never had them."""

    first: int
    last: int
    why: str
    lost: bool = False


@dataclass
class Coverage:
    """What was read of one partition of the archive: `first` to before `end`, but for the holes."""

    end: int = 0
    holes: list[Unreadable] = field(default_factory=list)

    def holds(self, offset: int) -> bool:
        """Say whether an offset could be read."""
        return offset < self.end and not any(hole.first <= offset <= hole.last for hole in self.holes)

    def whole_from(self, offset: int) -> int:
        """Return the offset from which on archive and log, which begins at `offset`, lack nothing."""
        if self.end < offset:
            return offset
        before = [hole.last + 1 for hole in self.holes if hole.first < offset]
        return min(offset, max(before, default=0))

    def lacking(self, offset: int) -> list[tuple[int, int]]:
        """Return what lacks before an offset: first and last of each hole."""
        lacking = [(hole.first, min(hole.last, offset - 1)) for hole in self.holes if hole.first < offset]
        return [*lacking, (self.end, offset - 1)] if self.end < offset else lacking


@dataclass(frozen=True)
class ArchiveSource:
    """The archive, for whoever reads on over what lacks; topics by bare names."""

    storage: Storage
    full_name: Callable[[str], str]

    async def read(self, topic: str, partition: int, take: Callable[[Record], None]) -> Coverage:
        """Take what the archive holds of a partition; say what lacks. Raises Unavailable."""
        coverage = Coverage()
        pieces = self._pieces(topic, partition, coverage)
        while (records := await asyncio.to_thread(next, pieces, None)) is not None:
            for record in records:
                take(record)
            await asyncio.sleep(0)
        return coverage

    def _pieces(self, topic: str, partition: int, coverage: Coverage) -> Iterator[list[Record]]:
        why = "the manifest knows nothing of them"
        for path in entry_paths(self.storage, self.full_name(topic), partition):
            try:
                entry = read_entry(self.storage, path)
            except (Damaged, NotStored) as error:
                # The next entry tells up to where that was.
                why = str(error)
                coverage.holes.append(Unreadable(coverage.end, coverage.end, why))
                continue
            if coverage.holes and coverage.holes[-1].first == coverage.end:
                coverage.holes.pop()
            if entry.first > coverage.end:
                coverage.holes.append(Unreadable(coverage.end, entry.first - 1, why))
            why = "the manifest knows nothing of them"
            if entry.file is None:
                dropped = "the log had dropped them before they were archived"
                coverage.holes.append(Unreadable(entry.first, entry.last, dropped, lost=True))
            else:
                try:
                    yield from records_of(self.storage, entry, topic)
                except (Damaged, Missing) as error:
                    coverage.holes.append(Unreadable(entry.first, entry.last, str(error)))
            coverage.end = max(coverage.end, entry.after)

    async def places(self, topics: Collection[str]) -> list[TopicPartition]:
        """Return which partitions the archive has of the topics. Raises Unavailable."""
        found = await asyncio.to_thread(lambda: [partitions(self.storage, self.full_name(t)) for t in topics])
        pairs = zip(topics, found, strict=True)
        return [TopicPartition(topic, number) for topic, each in pairs for _, number in each]
