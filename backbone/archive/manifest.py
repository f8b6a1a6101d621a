"""The manifest: for each partition a chain of ranges, each beginning where the one before ends.

Guarantees: the entry is the moment at which records are archived. Entries go by their first offset and are
only ever created, where there is none: so of two that would archive the same offset, whoever they are and
however late they wake up, one is refused, and no offset is in two ranges.
"""

from collections.abc import Iterator

import msgspec

from backbone.archive import Damaged, Storage
from backbone.archive.layout import MANIFEST, entry_name, entry_path, manifest_folder

VERSION = 1


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive has of the offsets from `first` to `last`, both among them.

    Ranges are of positions: what the log holds no record for is in them, too. `file` is the path of the
    records, `pending` where they are until they are there; None for offsets that the log had dropped before
    they were read. `size_bytes` and `sha256` are of the file, timestamps in epoch milliseconds.
    """

    version: int = VERSION
    topic: str
    partition: int
    first: int
    last: int
    file: str | None = None
    pending: str | None = None
    records: int = 0
    size_bytes: int = 0
    sha256: str = ""
    min_timestamp: int | None = None
    max_timestamp: int | None = None

    @property
    def after(self) -> int:
        """The offset at which the next range begins."""
        return self.last + 1

    @property
    def path(self) -> str:
        """Where the manifest has it."""
        return entry_path(self.topic, self.partition, self.first)


_decode = msgspec.json.Decoder(Range).decode


def encode(entry: Range) -> bytes:
    """Return an entry as it is stored: a line of JSON."""
    return msgspec.json.encode(entry) + b"\n"


def read_entry(storage: Storage, path: str) -> Range:
    """Return an entry. Raises Damaged, NotStored or Unavailable."""
    try:
        entry = _decode(storage.read(path))
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Damaged(f"{path}: not an entry of the manifest: {error}") from error
    if entry.version > VERSION:
        raise Damaged(f"{path}: of version {entry.version}, which only a newer maeari reads")
    if entry.path != path or entry.last < entry.first:
        raise Damaged(
            f"{path}: says that it is of {entry.topic}/{entry.partition}, {entry.first}-{entry.last}"
        )
    return entry


def entry_paths(storage: Storage, topic: str, partition: int) -> list[str]:
    """Return where the entries of a partition are, in the order of offsets. Raises Unavailable."""
    paths = storage.list(manifest_folder(topic, partition))
    return sorted(path for path in paths if entry_name(path))


def entries(storage: Storage, topic: str, partition: int) -> Iterator[Range]:
    """Yield the entries of a partition, in the order of offsets. Raises as `read_entry`."""
    for path in entry_paths(storage, topic, partition):
        yield read_entry(storage, path)


def partitions(storage: Storage, topic: str = "") -> list[tuple[str, int]]:
    """Return the partitions that the manifest knows, of one topic or all, by full name and number.

    Raises Unavailable.
    """
    names = filter(None, map(entry_name, storage.list(f"{MANIFEST}/{topic}".rstrip("/"))))
    return sorted({(topic, partition) for topic, partition, _ in names})
