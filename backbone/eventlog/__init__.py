"""The event log port: partitioned topics, consumer groups that commit offsets, compaction.

Guarantees of every adapter: `Producer.send` returns once all its records are durable, and records
with one partition keep their order; a group's partition is read by one member at a time, from the
last committed offset; a reader sees each partition in offset order, without uncommitted records.
Topic names are bare (`messages.created`): the adapter adds the prefix and takes it off again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from backbone.errors import Unavailable
from backbone.eventlog.record import Headers as Headers
from backbone.eventlog.record import NewRecord as NewRecord
from backbone.eventlog.record import Record as Record
from backbone.eventlog.record import TopicPartition as TopicPartition
from schemas.topics import Topic

DEPENDENCY = "eventlog"
"""The name of the log in Unavailable, in health and in probes."""

MAX_RECORD_BYTES = 1_000_000
"""What every adapter takes of key, value and headers together: Kafka's default of 1 MiB, less overhead."""


class RecordTooLarge(Exception):
    """The log does not take a record of this size.

    Nothing of the batch was written when it is over MAX_RECORD_BYTES; where the log itself has a
    smaller limit, other records of the batch may have been.
    """

    @classmethod
    def check(cls, records: Sequence[NewRecord]) -> None:
        """Raise when one of the records is larger than every adapter takes, before any is written."""
        for record in records:
            size = record.size_bytes
            if size > MAX_RECORD_BYTES:
                raise cls(f"{record.topic}, key {record.key!r}: {size} bytes of {MAX_RECORD_BYTES} allowed")


class Fenced(Unavailable):
    """A later producer with the same fence was opened: this one can never send again."""

    def __init__(self) -> None:
        super().__init__(DEPENDENCY, "a later producer has taken this one's place")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a partition lies on a log of several brokers, by their ids; the preferred leader comes first.

    `size_bytes` is that of the leader's copy, None where nobody asked or the brokers do not tell.
    """

    leader: int | None = None
    replicas: tuple[int, ...] = ()
    in_sync: tuple[int, ...] = ()
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it exists: `earliest` and `end` are offsets, one a partition, -1 while nobody leads it.

    `cleanup` is one of Topic's, or the log's own word for another policy; `retention_ms` is how long records
    are kept where they expire, `tombstones_ms` how long a compacted topic keeps its tombstones.
    `replication` is that of the partition with the fewest replicas.
    """

    name: str
    partitions: int
    cleanup: str
    retention_ms: int | None
    replication: int
    earliest: tuple[int, ...]
    end: tuple[int, ...]
    tombstones_ms: int | None = None
    placements: tuple[Placement, ...] = ()


class Producer(Protocol):
    """Appends records."""

    async def send(self, records: Sequence[NewRecord]) -> None:
        """Append all and return when all are durable, per partition in the order given.

        Raises Unavailable (some may have been written: sending again repeats them) or RecordTooLarge.
        One with a fence writes all or nothing, which readers see when this returns; it raises Fenced once
        another has taken its place, and after any other Unavailable is of no more use: open another.
        """

    async def close(self) -> None:
        """Release the connection; what was sent before is durable already."""


class Progress(NamedTuple):
    """The next offset to read of a partition, and the offset after its last record."""

    position: int
    end: int

    @property
    def lag(self) -> int:
        return max(0, self.end - self.position)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The partitions that a member holds; `generation` changes whenever they may have been another's."""

    generation: int
    places: frozenset[TopicPartition]


class Consumer(Protocol):
    """One member of a consumer group.

    Partitions are given out by number: as long as all members read the same topics, and these have the
    same number of partitions, whoever holds partition n of one topic holds partition n of all of them.
    Nothing is committed but by `commit`, and, in an empty poll, past offsets that hold no record: once all
    records are committed, a group's committed offsets reach the end.
    """

    async def poll(self, max_records: int, timeout_s: float, more: bool = False) -> list[Record]:
        """Return the next records, in offset order per partition; empty when none came in time.

        What it holds in memory is some megabytes a partition. What was returned before is done with,
        except where `more` is asked for. Raises Unavailable. Positions advance past what was returned.
        """

    @property
    def assignment(self) -> Assignment:
        """What is held; right after a poll, what its records were read under."""

    def pause(self, places: Collection[TopicPartition]) -> None:
        """Return no records of these partitions, and of all others again, until told otherwise."""

    async def commit(self, positions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Store the next offset to read, for each partition still held; return those that were stored.

        Raises Unavailable.
        """

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read again from these offsets, where the partition is still held."""

    async def progress(self) -> Mapping[TopicPartition, Progress]:
        """Return how far each partition held is read, and how far it goes. Raises Unavailable."""

    async def close(self) -> None:
        """Leave the group."""


class Reader(Protocol):
    """Reads partitions without a group, from the beginning; commits nothing."""

    async def end_offsets(self, undecided: bool = False) -> Mapping[TopicPartition, int]:
        """Return the present end of each partition read (the offset after the last). Raises Unavailable.

        That is the end of what can be read now. What was appended since the beginning of a transaction that
        is not decided yet lies behind it, others' acknowledged records, too: with `undecided`, the end is
        behind all that, and positions get there once it is decided.
        """

    def positions(self) -> Mapping[TopicPartition, int]:
        """Return the next offset to read, for each partition; compare these, not offsets of records seen."""

    async def read(self, max_records: int, timeout_s: float) -> list[Record]:
        """Return the next records, in offset order per partition; empty when none came in time.

        Raises Unavailable. Positions advance past what was returned, and past what holds no record.
        """

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Go to these offsets, each of a partition that is read."""

    async def seek_to_end(self) -> None:
        """Go to the present end of every partition. Raises Unavailable."""

    async def close(self) -> None:
        """Release the connection."""


class EventLog(Protocol):
    """The log: what other ports and processes are given. Connects on first use."""

    def full_name(self, topic: str) -> str:
        """Return the name under which the outside knows the topic: with the prefix."""

    async def producer(self, fence: str | None = None) -> Producer:
        """Open a producer (idempotent, acknowledged by all replicas in sync). Raises Unavailable.

        With a `fence` it takes the place of every producer opened before with the same one, in whatever
        process: once this call has returned, readers see nothing new of those.
        """

    async def consumer(self, group: str, topics: Sequence[Topic], instance: str | None = None) -> Consumer:
        """Join a group; a partition without a committed offset is read from the beginning.

        A member with an `instance`, a name that no other has, keeps its partitions while it is away for
        some seconds, where the adapter has a use for that. Raises Unavailable, or SetupError when a topic
        does not exist.
        """

    async def reader(self, topics: Sequence[Topic], partitions: Collection[int] | None = None) -> Reader:
        """Open a reader at the beginning of the partitions of these numbers, or of all, of the topics.

        Raises as `consumer` does.
        """

    async def committed(self, group: str, topics: Sequence[Topic]) -> Mapping[TopicPartition, int]:
        """Return the committed offsets of a group, 0 where there is none."""

    async def members(self, group: str) -> int:
        """Return how many members a group has at this moment. Raises Unavailable."""

    async def topics(self, *, sizes: bool = False) -> Mapping[str, TopicState]:
        """Return the topics that exist under the prefix, by bare name. Raises Unavailable.

        With `sizes` it also measures them, which takes longer.
        """

    async def apply_topics(
        self, topics: Sequence[Topic], partitions: int, *, dry_run: bool = False
    ) -> list[str]:
        """Make the topics that are missing, alter those that are kept otherwise than they should be.

        Returns a line for each change, and for each difference that is left alone: the number of partitions
        never changes. A missing topic gets as many as most of the others have, where they agree, else
        `partitions`. With `dry_run` nothing changes. Raises Unavailable, or SetupError when the log refuses.
        Where the adapter thins topics out by itself (see `compact`), it does so here.
        """

    async def drop_topics(self) -> None:
        """Remove every topic under the prefix with all that it holds, for ever; returns once they are gone.

        For prefixes that were made for a while (a measurement's, a test's), when nobody uses them any more.
        """

    async def compact(self, topic: Topic) -> None:
        """Keep the last record of each key, where the adapter does that itself (else: nothing)."""

    async def close(self) -> None:
        """Release whatever is open, consumers and producers included."""
