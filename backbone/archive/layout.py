"""The names of the archive's files: pure.

`TOPIC/DATE/PARTITION-FIRST-LAST.parquet` holds records, with topics by their full names, dates of the log
in UTC and offsets of twenty digits, so that names are in the order of offsets. Beside them, under names
that those who look for data pass over: `_manifest/TOPIC/PARTITION/FIRST.json`, what begins at an offset, and
`_pending/TOPIC/PARTITION-FIRST-LAST-NONCE.tmp`, what is not in its place yet.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

MANIFEST = "_manifest"
PENDING = "_pending"

_DATA = re.compile(
    r"(?P<topic>[^/]+)/(?P<date>\d{4}-\d\d-\d\d)/(?P<partition>\d+)-(\d{20})-(\d{20})\.parquet"
)
_ENTRY = re.compile(r"_manifest/(?P<topic>[^/]+)/(?P<partition>\d+)/(?P<first>\d{20})\.json")
_PENDING = re.compile(r"_pending/(?P<topic>[^/]+)/(?P<partition>\d+)-(?P<first>\d{20})-.*")
_LATEST_MS = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 1000


class DataName(NamedTuple):
    """What a data file's name says; both offsets are among those it stands for."""

    topic: str
    date: str
    partition: int
    first: int
    last: int

    @property
    def path(self) -> str:
        return f"{self.topic}/{self.date}/{self.partition}-{self.first:020d}-{self.last:020d}.parquet"

    def pending(self, nonce: str) -> str:
        """Return where the file is until its place in the manifest is taken."""
        return f"{PENDING}/{self.topic}/{self.partition}-{self.first:020d}-{self.last:020d}-{nonce}.tmp"


def date_of(timestamp_ms: int) -> str:
    """Return the UTC date of a moment in epoch milliseconds, or the nearest one from 1970 to 9999."""
    seconds = min(max(timestamp_ms, 0), _LATEST_MS) // 1000
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def data_name(path: str) -> DataName | None:
    """Return what a data file's path says, None for another kind of file."""
    match = _DATA.fullmatch(path)
    if match is None or match["topic"].startswith("_"):
        return None
    return DataName(match["topic"], match["date"], int(match["partition"]), int(match[4]), int(match[5]))


def entry_path(topic: str, partition: int, first: int) -> str:
    """Return where the manifest says what begins at an offset."""
    return f"{manifest_folder(topic, partition)}/{first:020d}.json"


def manifest_folder(topic: str, partition: int) -> str:
    """Return where the manifest of a partition is."""
    return f"{MANIFEST}/{topic}/{partition}"


def entry_name(path: str) -> tuple[str, int, int] | None:
    """Return topic, partition and first offset of an entry's path, None for another kind of file."""
    match = _ENTRY.fullmatch(path)
    return (match["topic"], int(match["partition"]), int(match["first"])) if match else None


def pending_first(path: str, partition: int) -> int | None:
    """Return the first offset of what waits for its place, None for another partition's."""
    match = _PENDING.fullmatch(path)
    return int(match["first"]) if match and int(match["partition"]) == partition else None
