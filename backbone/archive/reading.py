"""Reads the archive: the records of a partition in the order of their offsets, each file verified first.

Guarantees: what is yielded is what was archived; offsets that the archive does not have are never passed
over in silence. In memory is one file, and some thousand records of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

from backbone.archive import Damaged, Missing, NotStored, Storage
from backbone.archive.layout import data_name, entry_name
from backbone.archive.manifest import Range, entry_paths, partitions, read_entry
from backbone.archive.parquet import from_parquet
from backbone.eventlog import Record

_OFTEN_ENOUGH = 3


class Bounds(NamedTuple):
    """The first offset that a partition of the archive has, and the one behind its last."""

    first: int
    end: int


class Archive:
    """The archive for whoever reads it; topics by bare names. Every call raises Unavailable, or Damaged."""

    def __init__(self, storage: Storage, full_name: Callable[[str], str]) -> None:
        """`full_name` is that of the log, see EventLog."""
        self._storage = storage
        self._full_name = full_name

    def partitions(self, topic: str) -> list[int]:
        """Return the numbers of the partitions of a topic that the archive has."""
        return [number for _, number in partitions(self._storage, self._full_name(topic))]

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Return what the archive has of a partition.

        What the log had dropped when it was first archived is before it.
        """
        paths = entry_paths(self._storage, self._full_name(topic), partition)
        if not paths:
            return Bounds(0, 0)
        begins, ends = read_entry(self._storage, paths[0]), read_entry(self._storage, paths[-1])
        return Bounds(begins.first if begins.file else begins.after, ends.after)

    def records(
        self, topic: str, partition: int, first: int | None = None, after: int | None = None
    ) -> Iterator[list[Record]]:
        """Yield the records from the offset `first` to before `after`, or all, some thousand at a time.

        Raises Missing where the archive lacks some of these offsets, Damaged where a file is not what it was.
        """
        full_name = self._full_name(topic)
        expected = self.bounds(topic, partition).first if first is None else first
        for path in _from(entry_paths(self._storage, full_name, partition), expected):
            if after is not None and expected >= after:
                return
            entry = read_entry(self._storage, path)
            if entry.after <= expected:
                continue
            self._check_follows(entry, expected)
            yield from self._wanted(entry, topic, expected, after)
            expected = entry.after
        if after is not None and expected < after:
            raise Missing(full_name, partition, expected, after - 1, f"it ends with offset {expected - 1}")

    async def batches(
        self, topic: str, partition: int, first: int | None = None, after: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """Yield as `records` does, read in a thread."""
        found = self.records(topic, partition, first, after)
        while (batch := await asyncio.to_thread(next, found, None)) is not None:
            yield batch

    def _check_follows(self, entry: Range, expected: int) -> None:
        if entry.first > expected:
            raise Missing(
                entry.topic, entry.partition, expected, entry.first - 1, "the manifest knows nothing of them"
            )
        if entry.file is None:
            why = "the log had dropped them before they were archived"
            raise Missing(entry.topic, entry.partition, max(expected, entry.first), entry.last, why)

    def _wanted(self, entry: Range, topic: str, first: int, after: int | None) -> Iterator[list[Record]]:
        for records in records_of(self._storage, entry, topic):
            if after is None and records[0].offset >= first:
                yield records
                continue
            wanted = [
                each for each in records if each.offset >= first and (after is None or each.offset < after)
            ]
            if wanted:
                yield wanted


def records_of(storage: Storage, entry: Range, topic: str) -> Iterator[list[Record]]:
    """Yield the records of an entry's file, under this name of the topic.

    Raises Damaged, Missing or Unavailable.
    """
    name = data_name(entry.file or "")
    if name is None or (*name[0:1], *name[2:]) != (entry.topic, entry.partition, entry.first, entry.last):
        raise Damaged(f"{entry.path}: its file cannot be {entry.file}")
    data = verified(storage, entry)
    count = 0
    for records in from_parquet(data, name, topic):
        count += len(records)
        yield records
    if count != entry.records:
        raise Damaged(f"{entry.file}: has {count} records, the manifest says {entry.records}")


def verified(storage: Storage, entry: Range) -> bytes:
    """Return an entry's file, whole. Raises Damaged, Missing or Unavailable."""
    data = _read(storage, entry)
    if len(data) != entry.size_bytes:
        raise Damaged(f"{entry.file}: has {len(data)} bytes, the manifest says {entry.size_bytes}")
    if sha256(data).hexdigest() != entry.sha256:
        raise Damaged(f"{entry.file}: its SHA-256 is not the one in the manifest")
    return data


def _read(storage: Storage, entry: Range) -> bytes:
    """Return what is in the file: in its place, or, for a moment, where it waits for that."""
    for _ in range(_OFTEN_ENOUGH):
        for path in (entry.file, entry.pending):
            try:
                return storage.read(path or "")
            except NotStored:
                continue
    raise Missing(entry.topic, entry.partition, entry.first, entry.last, f"{entry.file} is gone")


def _from(paths: list[str], first: int) -> list[str]:
    """Leave out the entries that end before an offset: the one that it is in begins at it, or before."""
    starts = [entry_name(path) for path in paths]
    behind = sum(1 for start in starts if start is not None and start[2] <= first)
    return paths[max(0, behind - 1) :]
