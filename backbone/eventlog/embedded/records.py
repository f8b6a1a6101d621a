"""Appending, fetching and thinning out records: functions inside one transaction.

Partitions go by their ids here. Offsets have no gap until a compaction or an expiry makes one, and
are never given twice: a partition remembers its next offset even when its last record is gone.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from backbone.eventlog import Headers, NewRecord, Record, TopicPartition
from backbone.eventlog.embedded.storage import OFFSET_BITS
from schemas.topics import REPLAY_HORIZON_MS

FETCHED_MAX_BYTES = 8_000_000

_encode_headers = msgspec.msgpack.Encoder().encode
_decode_headers = msgspec.msgpack.Decoder(Headers).decode


class Bounds(NamedTuple):
    """The offsets of a partition: the first that it may have, and the next that it will give."""

    earliest: int
    next_offset: int


class Fetched(NamedTuple):
    """Records, and how far they bring each partition's position."""

    records: list[Record]
    positions: dict[int, int]


def append(connection: sqlite3.Connection, batches: Mapping[int, Sequence[NewRecord]], now_ms: int) -> None:
    """Append the records of each partition, in order."""
    for id_, batch in batches.items():
        (first,) = connection.execute("SELECT next_offset FROM partitions WHERE id = ?", (id_,)).fetchone()
        connection.executemany(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
            [
                (
                    (id_ << OFFSET_BITS) + offset,
                    record.key,
                    record.value,
                    _encode_headers(record.headers) if record.headers else None,
                    now_ms,
                )
                for offset, record in enumerate(batch, first)
            ],
        )
        connection.execute("UPDATE partitions SET next_offset = ? WHERE id = ?", (first + len(batch), id_))


def fetch(
    connection: sqlite3.Connection,
    names: Mapping[int, TopicPartition],
    positions: Mapping[int, int],
    max_records: int,
) -> Fetched:
    """Return the records from these positions on, the partitions in the order given.

    A position passes offsets that hold no record: a partition without more records is at its end.
    No more is returned than some megabytes, however many records are asked for.
    """
    fetched = Fetched([], {})
    ends = bounds(connection, list(positions))
    left_bytes = FETCHED_MAX_BYTES
    for id_, position in positions.items():
        room = max_records - len(fetched.records)
        if position >= ends[id_].next_offset or room <= 0 or left_bytes <= 0:
            continue
        rows = connection.execute(
            "SELECT number, key, value, headers, timestamp_ms FROM records"
            " WHERE number >= ? AND number < ? ORDER BY number LIMIT ?",
            ((id_ << OFFSET_BITS) + position, (id_ + 1) << OFFSET_BITS, room),
        )
        fetched.positions[id_] = ends[id_].next_offset
        for taken, row in enumerate(rows, 1):
            record = _record(names[id_], id_, row)
            fetched.records.append(record)
            left_bytes -= len(record.value or b"")
            if taken == room or left_bytes <= 0:
                fetched.positions[id_] = record.offset + 1
                break
    return fetched


def bounds(connection: sqlite3.Connection, partition_ids: Sequence[int]) -> dict[int, Bounds]:
    """Return the first and next offset of each partition."""
    rows = connection.execute(
        "SELECT id, earliest, next_offset FROM partitions WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(partition_ids),),
    )
    return {id_: Bounds(earliest, next_offset) for id_, earliest, next_offset in rows}


def size_bytes(connection: sqlite3.Connection, id_: int) -> int:
    """Return the bytes of a partition's records: keys, values and headers."""
    (size,) = connection.execute(
        "SELECT coalesce(sum(coalesce(length(CAST(key AS BLOB)), 0) + coalesce(length(value), 0)"
        " + coalesce(length(headers), 0)), 0) FROM records WHERE number >= ? AND number < ?",
        (id_ << OFFSET_BITS, (id_ + 1) << OFFSET_BITS),
    ).fetchone()
    return int(size)


def compact(connection: sqlite3.Connection, id_: int, now_ms: int) -> int:
    """Keep the last record of each key, tombstones past the replay horizon excepted; return how many went."""
    span = (id_ << OFFSET_BITS, (id_ + 1) << OFFSET_BITS)
    superseded = connection.execute(
        "DELETE FROM records WHERE number >= ? AND number < ? AND key IS NOT NULL AND number NOT IN"
        " (SELECT max(number) FROM records WHERE number >= ? AND number < ? GROUP BY key)",
        (*span, *span),
    )
    tombstones = connection.execute(
        "DELETE FROM records WHERE number >= ? AND number < ? AND value IS NULL AND timestamp_ms < ?",
        (*span, now_ms - REPLAY_HORIZON_MS),
    )
    return superseded.rowcount + tombstones.rowcount


def expire(connection: sqlite3.Connection, id_: int, before_ms: int) -> int:
    """Drop what was appended before a moment, return how much; the earliest offset moves past it."""
    floor, ceiling = id_ << OFFSET_BITS, (id_ + 1) << OFFSET_BITS
    ((kept,),) = connection.execute(
        "SELECT min(number) FROM records WHERE number >= ? AND number < ? AND timestamp_ms >= ?",
        (floor, ceiling, before_ms),
    )
    (end,) = connection.execute("SELECT next_offset FROM partitions WHERE id = ?", (id_,)).fetchone()
    earliest = end if kept is None else kept - floor
    dropped = connection.execute(
        "DELETE FROM records WHERE number >= ? AND number < ?", (floor, floor + earliest)
    )
    connection.execute("UPDATE partitions SET earliest = ? WHERE id = ?", (earliest, id_))
    return dropped.rowcount


def remove(connection: sqlite3.Connection, id_: int) -> None:
    """Remove every record of a partition."""
    connection.execute(
        "DELETE FROM records WHERE number >= ? AND number < ?", (id_ << OFFSET_BITS, (id_ + 1) << OFFSET_BITS)
    )


def _record(
    name: TopicPartition, id_: int, row: tuple[int, str | None, bytes | None, bytes | None, int]
) -> Record:
    number, key, value, headers, timestamp_ms = row
    return Record(
        name.topic,
        name.partition,
        number - (id_ << OFFSET_BITS),
        key,
        value,
        _decode_headers(headers) if headers else (),
        timestamp_ms,
    )
