"""Records as they are written to the log and read from it, and the partitions they lie in."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import msgspec

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be written; `value` None is a tombstone.

    The partition is murmur2 of `ordering_key`, over the number of the topic's partitions.
    """

    topic: str
    key: str
    ordering_key: str
    value: bytes | None
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        size = len(self.key.encode()) + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value)
        return size


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read; `timestamp_ms` is when it was appended, in epoch milliseconds.

    Others' records may hold what ours do not: `raw_key` is a key that is no UTF-8, which `key` shows as well
    as it goes; `valueless_headers` are the places of headers that have no value, where `headers` has b"".
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    raw_key: bytes | None = None
    valueless_headers: tuple[int, ...] = ()

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def key_bytes(self) -> bytes | None:
        """The key as the log holds it."""
        return self.key.encode() if self.raw_key is None and self.key is not None else self.raw_key

    @classmethod
    def of_bytes(
        cls,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        valueless_headers: tuple[int, ...] = (),
    ) -> Self:
        """Return a record whose key may be any bytes."""
        raw = None
        try:
            text = None if key is None else key.decode()
        except UnicodeDecodeError:
            raw, text = key, key.decode(errors="replace") if key is not None else None
        return cls(topic, partition, offset, text, value, headers, timestamp_ms, raw, valueless_headers)
