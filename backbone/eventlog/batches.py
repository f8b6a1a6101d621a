"""How many records are applied at once: by their number, their size, and the age of the first one."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backbone.eventlog import Consumer, Record, TopicPartition


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is applied once it has one of these; `poll_s` is how long its first record is waited for."""

    records: int = 500
    size_bytes: int = 4_000_000
    age_s: float = 0.0
    poll_s: float = 0.2


BATCH_LIMITS = BatchLimits()


class Span(NamedTuple):
    """What records lie in one partition: how many, from `first` to before `after`."""

    records: int
    first: int
    after: int


def spans(records: Sequence[Record]) -> dict[TopicPartition, Span]:
    """Return where records lie, which are in order per partition."""
    offsets: dict[TopicPartition, list[int]] = {}
    for record in records:
        offsets.setdefault(record.topic_partition, []).append(record.offset)
    return {place: Span(len(each), each[0], each[-1] + 1) for place, each in offsets.items()}


async def rewind(consumer: Consumer, records: Sequence[Record]) -> None:
    """Have records read again."""
    await consumer.rewind({place: span.first for place, span in spans(records).items()})


async def collect(consumer: Consumer, limits: BatchLimits) -> list[Record]:
    """Return the records of the next batch, or of a few: what comes at once is not left lying.

    Raises Unavailable: what was read before is read again then.
    """
    records = await consumer.poll(limits.records, limits.poll_s)
    now_s = asyncio.get_running_loop().time
    until_s = now_s() + limits.age_s
    while records and not _full(records, limits) and now_s() < until_s:
        generation = consumer.assignment.generation
        try:
            more = await consumer.poll(limits.records - len(records), until_s - now_s(), more=True)
        except BaseException:
            await rewind(consumer, records)
            raise
        if consumer.assignment.generation != generation:
            # Whoever holds the partitions now reads the former records again.
            return more
        records += more
    return records


def lots(
    records: Sequence[Record], apart: Mapping[TopicPartition, int], limits: BatchLimits
) -> Iterator[list[list[Record]]]:
    """Divide records into lots that fail each for itself, and these into batches of bounded size.

    Each partition of `apart` is a lot of its own, in that order, with at most so many records a batch.
    """
    sound: list[Record] = [] if apart else list(records)
    alone: dict[TopicPartition, list[Record]] = {place: [] for place in apart}
    for record in records if apart else ():
        alone.get(record.topic_partition, sound).append(record)
    if sound:
        yield _batches(sound, limits.size_bytes, limits.records)
    for place, lot in alone.items():
        if lot:
            yield _batches(lot, limits.size_bytes, apart[place])


def _batches(records: Sequence[Record], size_bytes: int, at_most: int) -> list[list[Record]]:
    batches: list[list[Record]] = [[]]
    size = 0
    for record in records:
        size += _size(record)
        if batches[-1] and (size > size_bytes or len(batches[-1]) >= at_most):
            batches.append([])
            size = _size(record)
        batches[-1].append(record)
    return batches


def _full(records: Sequence[Record], limits: BatchLimits) -> bool:
    return len(records) >= limits.records or sum(map(_size, records)) >= limits.size_bytes


def _size(record: Record) -> int:
    return len(record.value or b"")
