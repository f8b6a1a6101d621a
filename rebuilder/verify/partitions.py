"""One partition of the log, of its states or of the archive, summed up: what a worker process can do alone.

Guarantees: in memory are the digests of its channels, and of its messages so many as `spilling` says.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, assert_never

from backbone.eventlog import EventLog, TopicPartition
from rebuilder.digest import Digests
from rebuilder.patience import patiently
from rebuilder.verify.folding import EventFold, Problems, StateFold
from rebuilder.verify.reading import ArchiveSource, Coverage, Told, read_on
from rebuilder.verify.spilling import SpillingRows
from schemas.topics import MESSAGE_TOPICS, MESSAGES_STATE, Topic, partition_of

Kind = Literal["log", "state", "archive"]


@dataclass(frozen=True)
class Bounds:
    """What holds for all partitions, of which each topic of messages has so many.

    What was deleted before `purged_before` neither index nor states need hold; the log begins at `earliest`.
    """

    partitions: int
    earliest: Mapping[TopicPartition, int]
    purged_before: str
    patience_s: float


@dataclass
class Sums:
    """The digests of what was read, and what is to be known of it; `as_…` are of what that store keeps.

    `read` are the offsets that were read up to, `ends` those behind the last record; `misplaced` says that
    records of a channel lie in a partition that is not theirs.
    """

    whole: Digests
    as_indexed: Digests
    as_state: Digests
    problems: Problems = field(default_factory=Problems)
    records: int = 0
    read: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    coverage: dict[TopicPartition, Coverage] = field(default_factory=dict)
    misplaced: bool = False


async def sum_up_partition(
    kind: Kind,
    eventlog: EventLog,
    archive: ArchiveSource | None,
    partition: int,
    bounds: Bounds,
    told: Told = lambda _offsets: None,
) -> Sums:
    """Read a partition and sum it up. Raises Unavailable or NoRoom."""
    with closing(SpillingRows()) as rows:
        match kind:
            case "log":
                events = EventFold(rows=rows)
                read = await _read(eventlog, MESSAGE_TOPICS, partition, events, bounds, told)
                sums = _sums(rows, partition, bounds, events.problems)
                sums.read, sums.ends, sums.records = read, events.ends, events.records
            case "state":
                states = StateFold(rows=rows)
                read = await _read(eventlog, (MESSAGES_STATE,), partition, states, bounds, told)
                sums = _sums(rows, partition, bounds, states.problems)
                sums.read, sums.records = read, states.records
            case "archive":
                assert archive is not None, "there is one to read"
                sums = await _of_archive(archive, partition, bounds, rows)
            case _:
                assert_never(kind)
    return sums


async def _read(
    eventlog: EventLog,
    topics: Sequence[Topic],
    partition: int,
    fold: EventFold | StateFold,
    bounds: Bounds,
    told: Told,
) -> dict[TopicPartition, int]:
    """Read a partition of some topics to their ends; return the offsets behind."""
    reader = await eventlog.reader(topics, {partition})
    try:
        ends = await patiently(reader.end_offsets, bounds.patience_s)
        await read_on(reader, ends, fold.take, bounds.patience_s, told)
        return dict(reader.positions())
    finally:
        await reader.close()


async def _of_archive(archive: ArchiveSource, partition: int, bounds: Bounds, rows: SpillingRows) -> Sums:
    fold = EventFold(rows=rows)
    coverage = {
        place: await archive.read(*place, fold.take)
        for place in await archive.places([topic.name for topic in MESSAGE_TOPICS])
        if place.partition == partition
    }
    # Bad records that the log still has are named there.
    lost = Problems()
    for problem in fold.problems.named:
        place = TopicPartition(problem.topic, problem.partition)
        if problem.offset < bounds.earliest.get(place, 0):
            lost.add(problem)
    sums = _sums(rows, partition, bounds, lost)
    sums.coverage, sums.records = coverage, fold.records
    return sums


def _sums(rows: SpillingRows, partition: int, bounds: Bounds, problems: Problems) -> Sums:
    sums = Sums(Digests(), Digests(), Digests(), problems)
    for row in rows.rows():
        deleted = row.deleted_at is not None
        sums.whole.add(row.channel, row.hashed, deleted)
        if row.deleted_at is None or row.deleted_at >= bounds.purged_before:
            sums.as_indexed.add(row.channel, row.indexed, deleted)
            sums.as_state.add(row.channel, row.hashed, deleted)
    of_all = (partition_of(channel, bounds.partitions) for channel in sums.whole.names())
    sums.misplaced = any(number != partition for number in of_all)
    return sums
