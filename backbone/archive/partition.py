"""One partition of the archive, for whoever appends to it: where it ends, and what comes next.

Guarantees: a file is durable before its entry is, and has its place before anything is appended behind
it, whichever process dies in between; an append by one who did not know the end is refused, whole.
"""

import uuid
from collections.abc import Sequence
from hashlib import sha256

import structlog

from backbone.archive import NotStored, Storage
from backbone.archive.layout import PENDING, DataName, date_of, pending_first
from backbone.archive.manifest import Range, encode, entry_paths, read_entry
from backbone.archive.parquet import to_parquet
from backbone.eventlog import Record

log = structlog.get_logger()


class Overtaken(Exception):
    """Another has appended here: nothing was archived, and `refresh` tells from where to go on."""


class PartitionArchive:
    """Appends to one partition; all calls block, one at a time. They raise Unavailable, or Damaged."""

    def __init__(self, storage: Storage, topic: str, partition: int) -> None:
        """`topic` is the full name."""
        self._storage = storage
        self._topic = topic
        self._partition = partition
        self.end = 0
        """The offset at which the next range begins, as of the last look."""
        # What others had put, and not archived: by path, the offset at which it begins.
        self._left: dict[str, int] = {}

    def refresh(self) -> int:
        """Look where the archive ends, finish what another left half done, and return the end."""
        paths = entry_paths(self._storage, self._topic, self._partition)
        if paths:
            last = read_entry(self._storage, paths[-1])
            self._publish(last)
            self.end = last.after
        waiting = self._storage.list(f"{PENDING}/{self._topic}")
        firsts = {path: pending_first(path, self._partition) for path in waiting}
        self._left = {path: first for path, first in firsts.items() if first is not None}
        self._sweep()
        return self.end

    def append(self, records: Sequence[Record], first: int) -> Range:
        """Archive records, in order and of one date: all that there is from `first`, the end, to the last.

        Raises Overtaken.
        """
        timestamps = [record.timestamp_ms for record in records]
        name = DataName(self._topic, date_of(timestamps[0]), self._partition, first, records[-1].offset)
        data = to_parquet(records, name)
        pending = name.pending(uuid.uuid4().hex)
        entry = Range(
            topic=self._topic,
            partition=self._partition,
            first=first,
            last=name.last,
            file=name.path,
            pending=pending,
            records=len(records),
            size_bytes=len(data),
            sha256=sha256(data).hexdigest(),
            min_timestamp=min(timestamps),
            max_timestamp=max(timestamps),
        )
        self._storage.put(pending, data)
        self._take(entry)
        self._publish(entry)
        self._sweep()
        return entry

    def note_lost(self, first: int, last: int) -> Range:
        """Note that the log had dropped these offsets before they were read. Raises Overtaken."""
        entry = Range(topic=self._topic, partition=self._partition, first=first, last=last)
        self._take(entry)
        return entry

    def _take(self, entry: Range) -> None:
        """Create the entry: from then on the range is archived. Raises Overtaken."""
        if entry.first != self.end:
            raise Overtaken
        if not self._storage.create(entry.path, encode(entry)):
            there = read_entry(self._storage, entry.path)
            # An answer that got lost is asked for again: what is there may be our own.
            if there != entry:
                if entry.pending is not None:
                    self._storage.remove(entry.pending)
                raise Overtaken
        self.end = entry.after

    def _publish(self, entry: Range) -> None:
        if entry.file is None or entry.pending is None:
            return
        try:
            self._storage.move(entry.pending, entry.file)
        except NotStored:
            # What comes behind it is no less worth keeping; `maeari archive check` says what lacks.
            log.error("archive_file_is_gone", file=entry.file)

    def _sweep(self) -> None:
        """Remove what was left and cannot be archived any more: it begins before the end."""
        dead = [path for path, first in self._left.items() if first < self.end]
        for path in dead:
            self._storage.remove(path)
            del self._left[path]
