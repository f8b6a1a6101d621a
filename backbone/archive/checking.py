"""Checks the whole archive: every offset in one file, every file what the manifest says, and the log's ends.

Reads all files, one at a time, and changes nothing; it may run beside archivers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from backbone.archive import Damaged, Missing, NotStored, Storage
from backbone.archive.layout import DataName, data_name
from backbone.archive.manifest import Range, entry_paths, partitions, read_entry
from backbone.archive.reading import records_of

Kind = Literal["missing", "overlap", "damaged", "not_in_manifest", "another_log"]
Place = tuple[str, int]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, in a line; `first` and `last` are the offsets that it is about, both among them."""

    kind: Kind
    topic: str
    partition: int
    first: int
    last: int
    detail: str
    file: str | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive has of a partition: from `first` to before `end`.

    `waiting` are the offsets of the log that are not archived yet, None where the log was not asked.
    """

    topic: str
    partition: int
    first: int
    end: int
    files: int
    records: int
    size_bytes: int
    min_timestamp: int | None
    max_timestamp: int | None
    waiting: int | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found; `log_compared` says whether the log's ends were known. Nothing is not `ok`."""

    url: str
    ok: bool
    log_compared: bool
    partitions: tuple[Held, ...]
    findings: tuple[Finding, ...]


class LogBounds(NamedTuple):
    """The log's first offset of a partition, and the one behind its last."""

    earliest: int
    end: int


def check(
    storage: Storage, log: Mapping[Place, LogBounds] | None, advance: Callable[[int], None] = lambda _: None
) -> Report:
    """Return what is wrong with an archive; `advance` hears of each entry that is done.

    Raises Unavailable.
    """
    # The files first: what is in its place has been in the manifest before.
    files: dict[Place, list[DataName]] = {}
    for name in filter(None, map(data_name, storage.list(""))):
        files.setdefault((name.topic, name.partition), []).append(name)
    in_log = {place for place, bounds in (log or {}).items() if bounds.end > bounds.earliest}
    held, findings = [], []
    for place in sorted({*partitions(storage), *files, *in_log}):
        entries: list[Range] = []
        for found in _checked(storage, *place, entries):
            advance(1)
            if found is not None:
                findings.append(found)
        findings += _not_in_manifest(files.get(place, ()), entries)
        bounds = None if log is None else log.get(place)
        held.append(held_of(*place, entries, bounds))
        if bounds is not None:
            findings += _against_log(held[-1], bounds)
    return Report(
        url=storage.url,
        ok=not findings and any(each.end for each in held),
        log_compared=log is not None,
        partitions=tuple(held),
        findings=tuple(findings),
    )


def held_of(topic: str, partition: int, entries: Sequence[Range], log: LogBounds | None) -> Held:
    """Return what entries, which are in order, say that the archive has."""
    files = [entry for entry in entries if entry.file is not None]
    first = 0
    if entries:
        first = entries[0].first if entries[0].file is not None else entries[0].after
    end = entries[-1].after if entries else 0
    return Held(
        topic=topic,
        partition=partition,
        first=first,
        end=end,
        files=len(files),
        records=sum(entry.records for entry in files),
        size_bytes=sum(entry.size_bytes for entry in files),
        min_timestamp=min(
            (each.min_timestamp for each in files if each.min_timestamp is not None), default=None
        ),
        max_timestamp=max(
            (each.max_timestamp for each in files if each.max_timestamp is not None), default=None
        ),
        waiting=None if log is None else max(0, log.end - max(end, log.earliest)),
    )


def _checked(storage: Storage, topic: str, partition: int, entries: list[Range]) -> Iterator[Finding | None]:
    """Check the entries of a partition, which are added to `entries`; yield a finding or None for each."""
    expected = 0
    for path in entry_paths(storage, topic, partition):
        try:
            entry = read_entry(storage, path)
        except (Damaged, NotStored) as error:
            # What it stood for is told as missing, by the entry behind it.
            yield _finding("damaged", (topic, partition), (expected, expected), str(error), path)
            continue
        entries.append(entry)
        place = (topic, partition)
        if entry.first > expected:
            lacking = (expected, entry.first - 1)
            yield _finding("missing", place, lacking, "the manifest knows nothing of them")
        elif entry.first < expected:
            twice = (entry.first, min(entry.last, expected - 1))
            yield _finding("overlap", place, twice, "another file has them, too", entry.file)
        if entry.file is None and entry.first > 0:
            lost = (entry.first, entry.last)
            yield _finding("missing", place, lost, "the log had dropped them before they were archived")
        yield None if entry.file is None else _wrong_with(storage, entry)
        expected = max(expected, entry.after)


def _wrong_with(storage: Storage, entry: Range) -> Finding | None:
    place, offsets = (entry.topic, entry.partition), (entry.first, entry.last)
    try:
        for _ in records_of(storage, entry, entry.topic):
            pass
    except Missing as error:
        return _finding("missing", place, offsets, str(error), entry.file)
    except Damaged as error:
        return _finding("damaged", place, offsets, str(error), entry.file)
    return None


def _not_in_manifest(files: Sequence[DataName], entries: Sequence[Range]) -> Iterator[Finding]:
    listed = {entry.file for entry in entries}
    unknown = "the manifest does not name it: `maeari archive mend` enters it where it fits"
    for name in files:
        if name.path not in listed:
            place, offsets = (name.topic, name.partition), (name.first, name.last)
            yield _finding("not_in_manifest", place, offsets, unknown, name.path)


def _against_log(held: Held, log: LogBounds) -> Iterator[Finding]:
    place = (held.topic, held.partition)
    if log.earliest > held.end and held.files:
        lacking = (held.end, log.earliest - 1)
        yield _finding("missing", place, lacking, "the log dropped them before they were archived")
    if log.end < held.end:
        beyond = (log.end, held.end - 1)
        yield _finding("another_log", place, beyond, f"the log ends at {log.end}: it is another one")


def _finding(
    kind: Kind, place: Place, offsets: tuple[int, int], detail: str, file: str | None = None
) -> Finding:
    topic, partition = place
    first, last = offsets
    return Finding(
        kind=kind, topic=topic, partition=partition, first=first, last=last, detail=detail, file=file
    )
