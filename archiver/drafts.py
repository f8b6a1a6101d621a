"""The records that wait for their file, by partition: pure.

Guarantees: a file's records are of one date and in the order of offsets; files of a partition follow each
other without a gap or an overlap of positions; what waits in memory is bounded by what is read next.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from backbone.archive.layout import date_of
from backbone.archive.settings import ArchiveSettings
from backbone.eventlog import Progress, Record, TopicPartition

# What a record takes in memory beside its bytes.
RECORD_OVERHEAD_BYTES = 400
# What was appended long ago, and is read in bulk, waits so long for more of its kind.
SETTLE_S = 5.0
# All drafts together, in files of the largest size.
TOTAL_FILES = 4


@dataclass(frozen=True, slots=True)
class DraftLimits:
    """A file is due with so many bytes of records, or so long after its first record was appended.

    All drafts together have at most `total_bytes`, and one batch.
    """

    max_bytes: int
    max_age_s: float
    total_bytes: int

    @classmethod
    def of(cls, settings: ArchiveSettings) -> Self:
        """Return when a file is due, as the settings say."""
        return cls(settings.max_bytes, float(settings.max_age_s), settings.max_bytes * TOTAL_FILES)


@dataclass(slots=True)
class Draft:
    """A file to be: all that there is from the offset `first` to its last record; due at `due_s`."""

    place: TopicPartition
    first: int
    date: str
    due_s: float
    records: list[Record] = field(default_factory=list)
    size_bytes: int = 0
    closed: bool = False

    @property
    def after(self) -> int:
        """The offset behind its last record."""
        return self.records[-1].offset + 1

    @property
    def holes(self) -> Iterator[tuple[int, int]]:
        """The offsets that it has no record for: the first and the last of each hole."""
        expected = self.first
        for record in self.records:
            if record.offset > expected:
                yield expected, record.offset - 1
            expected = record.offset + 1


class Drafts:
    """The drafts of one member, and the offset that comes next in each partition that it has taken over."""

    def __init__(self, limits: DraftLimits) -> None:
        self._limits = limits
        self._next: dict[TopicPartition, int] = {}
        self._drafts: dict[TopicPartition, deque[Draft]] = {}
        self.size_bytes = 0

    @property
    def places(self) -> Collection[TopicPartition]:
        """The partitions that were taken over."""
        return self._next.keys()

    @property
    def records(self) -> int:
        """How many records wait."""
        return sum(len(draft.records) for drafts in self._drafts.values() for draft in drafts)

    @property
    def full(self) -> bool:
        """Say if no more is to be read for now."""
        return self.size_bytes >= self._limits.total_bytes

    def begin(self, place: TopicPartition, position: int) -> None:
        """Take a partition over: its next record is at this offset or behind it."""
        self.forget(place)
        self._next[place] = position

    def forget(self, place: TopicPartition) -> None:
        """Drop what waits of a partition."""
        self._next.pop(place, None)
        for draft in self._drafts.pop(place, ()):
            self.size_bytes -= draft.size_bytes

    def clear(self) -> None:
        """Drop everything."""
        for place in list(self._next):
            self.forget(place)

    def archived(self, progress: Mapping[TopicPartition, Progress]) -> dict[TopicPartition, Progress]:
        """Return how far partitions are archived, of which it is known how far they were read."""
        waiting = {place: drafts[0].first for place, drafts in self._drafts.items() if drafts}
        return {
            place: Progress(min(at, waiting.get(place, at)), end) for place, (at, end) in progress.items()
        }

    def add(self, record: Record, now_s: float, now_ms: int) -> bool:
        """Add a record that was read; say if it was: one from before, or of a foreign partition, is not.

        `now_s` is of the clock that only goes forward, `now_ms` the time of day in epoch milliseconds.
        """
        place = record.topic_partition
        expected = self._next.get(place)
        if expected is None or record.offset < expected:
            return False
        drafts = self._drafts.setdefault(place, deque())
        date = date_of(record.timestamp_ms)
        if drafts and not drafts[-1].closed and drafts[-1].date != date:
            drafts[-1].closed = True
        if not drafts or drafts[-1].closed:
            waited_s = (now_ms - record.timestamp_ms) / 1000
            left_s = min(max(self._limits.max_age_s - waited_s, SETTLE_S), self._limits.max_age_s)
            drafts.append(Draft(place, expected, date, now_s + left_s))
        draft = drafts[-1]
        draft.records.append(record)
        size_bytes = _size_of(record)
        draft.size_bytes += size_bytes
        self.size_bytes += size_bytes
        draft.closed = draft.size_bytes >= self._limits.max_bytes
        self._next[place] = record.offset + 1
        return True

    def due(self, now_s: float, but: Collection[TopicPartition] = (), *, all_: bool = False) -> list[Draft]:
        """Return the first draft of each partition where it is due, closed from now on.

        Where all drafts together are full the largest are due; with `all_` each one is.
        """
        heads = [drafts[0] for place, drafts in self._drafts.items() if drafts and place not in but]
        found = [draft for draft in heads if all_ or draft.closed or draft.due_s <= now_s]
        too_much = self.size_bytes - self._limits.total_bytes // 2 if self.full else 0
        for draft in sorted(heads, key=lambda each: -each.size_bytes):
            if too_much <= sum(each.size_bytes for each in found):
                break
            if draft not in found:
                found.append(draft)
        for draft in found:
            draft.closed = True
        return found

    def written(self, draft: Draft) -> None:
        """Note that a draft, the first of its partition, is archived."""
        drafts = self._drafts.get(draft.place)
        if drafts and drafts[0] is draft:
            drafts.popleft()
            self.size_bytes -= draft.size_bytes


@dataclass(frozen=True, slots=True)
class Loss:
    """Offsets that the log had dropped before they were read, from `first` to `last`."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Records of a draft with no loss among them; `first` is the offset that they stand for from on."""

    first: int
    records: list[Record]


def pieces(draft: Draft, earliest: int) -> list[Piece | Loss]:
    """Divide a draft where the log may have dropped records before they were read.

    A hole is harmless where the log has not been trimmed up to it by now (`earliest` is its first offset): no
    record ever was there, or compaction took it. Otherwise nobody can tell, and it counts as lost.
    """
    found: list[Piece | Loss] = []
    first, start = draft.first, 0
    if earliest <= first:
        return [Piece(first, draft.records)]
    indices = {record.offset: index for index, record in enumerate(draft.records)}
    for begin, end in draft.holes:
        last = min(end, earliest - 1)
        if last < begin:
            continue
        index = indices[end + 1]
        if index > start:
            found.append(Piece(first, draft.records[start:index]))
        found.append(Loss(begin, last))
        first, start = last + 1, index
    found.append(Piece(first, draft.records[start:]))
    return found


def _size_of(record: Record) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key_bytes or b"") + len(record.value or b"") + headers + RECORD_OVERHEAD_BYTES
