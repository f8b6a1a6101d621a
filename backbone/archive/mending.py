"""Enters files into the manifest that it lacks: what is in a file's name and metadata is enough for that."""

from collections.abc import Iterator
from hashlib import sha256

from backbone.archive import Damaged, Storage
from backbone.archive.layout import DataName, data_name
from backbone.archive.manifest import Range, encode, entries
from backbone.archive.parquet import from_parquet


def mend(storage: Storage) -> Iterator[str]:
    """Enter what fits, and yield a line for each file. Raises Unavailable, or Damaged.

    No archiver may run meanwhile. A file fits that is whole, and whose offsets no other has. What the log
    had dropped is not known any more.
    """
    taken: dict[tuple[str, int], list[Range]] = {}
    for name in sorted(filter(None, map(data_name, storage.list("")))):
        place = (name.topic, name.partition)
        if place not in taken:
            taken[place] = list(entries(storage, *place))
        if any(entry.file == name.path for entry in taken[place]):
            continue
        if any(entry.first <= name.last and name.first <= entry.last for entry in taken[place]):
            yield f"{name.path}: left alone, other files have some of its offsets"
            continue
        try:
            entry = entry_of(storage, name)
        except Damaged as error:
            yield f"left alone: {error}"
            continue
        storage.create(entry.path, encode(entry))
        taken[place].append(entry)
        yield f"{name.path}: entered"


def entry_of(storage: Storage, name: DataName) -> Range:
    """Return the entry of a file, from what is in it. Raises Damaged, NotStored or Unavailable."""
    data = storage.read(name.path)
    timestamps = [
        record.timestamp_ms for records in from_parquet(data, name, name.topic) for record in records
    ]
    return Range(
        topic=name.topic,
        partition=name.partition,
        first=name.first,
        last=name.last,
        file=name.path,
        records=len(timestamps),
        size_bytes=len(data),
        sha256=sha256(data).hexdigest(),
        min_timestamp=min(timestamps),
        max_timestamp=max(timestamps),
    )
