"""Records as Parquet and back: their bytes as they were, and columns that people ask for beside them.

Guarantees: what was written is read again byte for byte: keys, values, headers, those without a value
too, timestamps and offsets. A file is read some records at a time.
"""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backbone.archive import Damaged
from backbone.archive.columns import typed
from backbone.archive.layout import DataName
from backbone.eventlog import Record

SCHEMA_VERSION = 1
READ_AT_ONCE = 10_000
_ROWS_OF_A_GROUP = 50_000

_MOMENT = pa.timestamp("ms", tz="UTC")
_HEADERS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))
_RAW = [
    ("topic", pa.string()),
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("timestamp", _MOMENT),
    ("key", pa.binary()),
    ("value", pa.binary()),
    ("headers", _HEADERS),
]
_TYPED = [
    ("event_id", pa.string()),
    ("event_type", pa.string()),
    ("event_timestamp", _MOMENT),
    ("sequence", pa.int64()),
    ("version", pa.int64()),
    ("seq", pa.int64()),
    ("channel_id", pa.string()),
    ("message_id", pa.string()),
    ("author_id", pa.string()),
    ("user_id", pa.string()),
    ("parent_id", pa.string()),
    ("content", pa.string()),
    ("private", pa.bool_()),
    ("deleted", pa.bool_()),
]
SCHEMA = pa.schema(_RAW + _TYPED)
_REPEATED = ["topic", "partition", "event_type", "channel_id", "author_id", "user_id"]
_READ = ["offset", "timestamp", "key", "value", "headers"]


def to_parquet(records: Sequence[Record], name: DataName) -> bytes:
    """Return records of one partition as a file, which says in its metadata what its name says."""
    schema = SCHEMA.with_metadata(
        {
            "maeari.schema_version": str(SCHEMA_VERSION),
            "maeari.topic": name.topic,
            "maeari.partition": str(name.partition),
            "maeari.first": str(name.first),
            "maeari.last": str(name.last),
        }
    )
    rows = [typed(record) for record in records]
    columns: dict[str, list[Any]] = {
        "topic": [name.topic] * len(records),
        "partition": [name.partition] * len(records),
        "offset": [record.offset for record in records],
        "timestamp": [record.timestamp_ms for record in records],
        "key": [record.key_bytes for record in records],
        "value": [record.value for record in records],
        "headers": [_headers(record) for record in records],
    }
    columns |= {each: [getattr(row, each) for row in rows] for each, _ in _TYPED}
    arrays = [_array(columns[field.name], field.type) for field in schema]
    file = BytesIO()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema),
        file,
        compression="zstd",
        use_dictionary=_REPEATED,
        row_group_size=_ROWS_OF_A_GROUP,
    )
    return file.getvalue()


def from_parquet(data: bytes, name: DataName, topic: str) -> Iterator[list[Record]]:
    """Yield what a file holds, some thousand records at a time, under this name of the topic.

    Raises Damaged.
    """
    before = name.first - 1
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            _check(file, name)
            for batch in file.iter_batches(batch_size=READ_AT_ONCE, columns=_READ):
                records = _records(batch, topic, name.partition)
                for record in records:
                    if not before < record.offset <= name.last:
                        raise Damaged(f"{name.path}: offset {record.offset} is out of its place")
                    before = record.offset
                yield records
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Damaged(f"{name.path}: cannot be read: {' '.join(str(error).split())}") from error
    if before != name.last:
        raise Damaged(f"{name.path}: ends with offset {before}, not {name.last}")


def _check(file: Any, name: DataName) -> None:
    metadata = file.schema_arrow.metadata or {}
    said = [
        metadata.get(f"maeari.{each}".encode(), b"").decode()
        for each in ("topic", "partition", "first", "last")
    ]
    version = metadata.get(b"maeari.schema_version", b"").decode()
    if not version.isdecimal() or int(version) > SCHEMA_VERSION:
        raise Damaged(f"{name.path}: is of version {version or 'none'} of the columns, not {SCHEMA_VERSION}")
    if said != [name.topic, str(name.partition), str(name.first), str(name.last)]:
        raise Damaged(f"{name.path}: says that it is {'/'.join(said)}")


def _array(values: Sequence[Any], kind: Any) -> Any:
    """Return a column; moments are given as numbers, which may lie beyond what Python has dates for."""
    if kind == _MOMENT:
        return pa.array(values, pa.int64()).cast(_MOMENT)
    return pa.array(values, kind)


def _headers(record: Record) -> list[tuple[str, bytes | None]]:
    without = record.valueless_headers
    return [
        (name, None if number in without else value) for number, (name, value) in enumerate(record.headers)
    ]


def _records(batch: Any, topic: str, partition: int) -> list[Record]:
    offsets = batch.column("offset").to_pylist()
    timestamps = batch.column("timestamp").cast(pa.int64()).to_pylist()
    values = batch.column("value").to_pylist()
    headers = batch.column("headers")
    ends = headers.offsets.to_pylist()
    # The offsets are those into all of the child's values, of which a slice has its own part only.
    names, contents = (headers.values.field(number) for number in (0, 1))
    pairs = list(zip(names.to_pylist(), contents.to_pylist(), strict=True))
    rows = zip(offsets, values, ends, ends[1:], timestamps, strict=False)
    try:
        keys = batch.column("key").cast(pa.string()).to_pylist()
        ours = not contents.null_count
    except pa.ArrowInvalid:
        ours = False
    if ours:
        return [
            Record(topic, partition, offset, key, value, tuple(pairs[start:end]), timestamp)
            for key, (offset, value, start, end, timestamp) in zip(keys, rows, strict=True)
        ]
    raw = batch.column("key").to_pylist()
    return [
        _of_others(topic, partition, offset, key, value, pairs[start:end], timestamp)
        for key, (offset, value, start, end, timestamp) in zip(raw, rows, strict=True)
    ]


def _of_others(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    pairs: Sequence[tuple[str, bytes | None]],
    timestamp_ms: int,
) -> Record:
    """Return a record that may hold what ours do not."""
    headers = tuple((name, content or b"") for name, content in pairs)
    without = tuple(number for number, (_, content) in enumerate(pairs) if content is None)
    return Record.of_bytes(topic, partition, offset, key, value, headers, timestamp_ms, without)
