"""The parking of a group: what its member may not apply yet, or never can, kept in `dead-letters`.

Whoever holds partition n of the group's topics holds partition n of the dead letters, and writes there
behind a fence. A new owner takes the fence, then reads that partition to its end, before it applies
anything: so keys that are stopped stay so through restarts and rebalances, and nothing of a former
owner appears later. Order is the offset in the dead letters.
"""

import asyncio
from collections.abc import Mapping, Sequence

from backbone.errors import Unavailable
from backbone.eventlog import (
    DEPENDENCY,
    Assignment,
    EventLog,
    NewRecord,
    Producer,
    Reader,
    Record,
    TopicPartition,
)
from backbone.eventlog.parking.ledger import Ledger
from backbone.eventlog.parking.letters import Parked, Source, letter_of
from backbone.eventlog.topic_state import require, require_same_partitions
from schemas.topics import DEAD_LETTERS, Topic, partition_of

_READ_AT_ONCE = 1_000


class Parking:
    """The part of a group's parking that falls to one of its members."""

    def __init__(self, eventlog: EventLog, group: str, topics: Sequence[Topic]) -> None:
        self.group = group
        self._eventlog = eventlog
        self._topics = topics
        self._generation: int | None = None
        self._partitions = 0
        self._reader: Reader | None = None
        self._ledgers: dict[int, Ledger] = {}
        self._producers: dict[int, Producer] = {}

    @property
    def ledgers(self) -> Mapping[int, Ledger]:
        """What is parked, by the number of the partition."""
        return self._ledgers

    @property
    def keys(self) -> int:
        """How many ordering keys are stopped."""
        return sum(len(ledger.by_key) for ledger in self._ledgers.values())

    @property
    def letters(self) -> int:
        """How many records are parked."""
        return sum(ledger.size for ledger in self._ledgers.values())

    async def own(self, assignment: Assignment) -> bool:
        """Take over what the assignment brings; nothing of it may be applied before. Say if it was new.

        Raises Unavailable, or SetupError where the topics' partitions do not match.
        """
        if assignment.generation == self._generation:
            return False
        numbers = {place.partition for place in assignment.places}
        if not self._partitions:
            await self._count_partitions()
        self._check(assignment, numbers)
        await self._close_producers()
        if numbers:
            producers = await asyncio.gather(*map(self._fenced, numbers), return_exceptions=True)
            self._producers = {
                number: each
                for number, each in zip(numbers, producers, strict=True)
                if not isinstance(each, BaseException)
            }
            for each in producers:
                if isinstance(each, BaseException):
                    raise each
        await self._read_just(numbers)
        await self.catch_up()
        self._generation = assignment.generation
        return True

    @property
    def blank(self) -> bool:
        """Whether nothing is parked, nor was of late."""
        return all(ledger.blank for ledger in self._ledgers.values())

    def knows(self, record: Record) -> bool:
        """Whether this very record is parked, or was and is dealt with."""
        return any(ledger.knows(self.source(record)) for ledger in self._ledgers.values())

    def stops(self, partition: int) -> Mapping[str, object]:
        """Return the keys of a partition that are stopped."""
        return self._ledgers[partition].by_key

    def at_home(self, ordering_key: str, partition: int) -> bool:
        """Whether the records of a key belong into this partition."""
        return partition_of(ordering_key, self._partitions) == partition

    def source(self, record: Record) -> Source:
        """Return the name of a record in the dead letters."""
        return Source(self._eventlog.full_name(record.topic), record.partition, record.offset)

    async def park(self, parked: Sequence[Parked]) -> None:
        """Write letters, in order. Raises Unavailable; Fenced when the partitions are another's by now."""
        by_number: dict[int, list[Parked]] = {}
        for each in parked:
            by_number.setdefault(each.record.partition, []).append(each)
        for number, lot in by_number.items():
            letters = [
                letter_of(self.group, self._eventlog.full_name(each.record.topic), each) for each in lot
            ]
            await self.send(number, letters)
            for each in lot:
                # What stands alone may lie in another partition, and is met when that is read.
                if not each.alone:
                    self._ledgers[number].put(self.source(each.record), each.ordering_key, alone=False)

    async def send(self, number: int, records: Sequence[NewRecord]) -> None:
        """Append to the dead letters, as the owner of a partition. Raises Unavailable."""
        try:
            await self._producers[number].send(records)
        except Unavailable:
            # A producer behind a fence is of no more use: another is opened, and all is read again.
            self._generation = None
            raise

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        """Note how far the group has come: what lies before is not read again."""
        for place, offset in positions.items():
            for ledger in self._ledgers.values():
                ledger.forget_before(self._eventlog.full_name(place.topic), place.partition, offset)

    async def look(self) -> None:
        """Take in what is new in the dead letters, requests first of all. Raises Unavailable."""
        while self._reader is not None:
            records = await self._reader.read(_READ_AT_ONCE, 0.0)
            self._take(records)
            if not records:
                break

    async def catch_up(self) -> None:
        """Take in all that lies in the dead letters by now. Raises Unavailable."""
        if self._reader is None:
            return
        ends = await self._reader.end_offsets()
        while any(self._reader.positions()[place] < end for place, end in ends.items()):
            self._take(await self._reader.read(_READ_AT_ONCE, 1.0))

    async def close(self) -> None:
        """Give everything up."""
        self._generation = None
        reader, self._reader = self._reader, None
        self._ledgers = {}
        await self._close_producers()
        if reader is not None:
            await reader.close()

    async def _count_partitions(self) -> None:
        needed = (*self._topics, DEAD_LETTERS)
        states = await self._eventlog.topics()
        require(states, needed, self._eventlog.full_name)
        require_same_partitions(states, needed, self._eventlog.full_name)
        self._partitions = states[DEAD_LETTERS.name].partitions

    def _check(self, assignment: Assignment, numbers: set[int]) -> None:
        """See to it that whoever holds a partition of one topic holds it of all."""
        wanted = {TopicPartition(topic.name, number) for topic in self._topics for number in numbers}
        if wanted != assignment.places:
            # Partitions may have been added, or the other members be of another version.
            self._partitions = 0
            raise Unavailable(
                DEPENDENCY,
                f"the members of {self.group} divide its partitions in different ways: run one version",
            )

    async def _fenced(self, number: int) -> Producer:
        return await self._eventlog.producer(fence=f"parking.{self.group}.{number}")

    async def _read_just(self, numbers: set[int]) -> None:
        """Read these partitions: new ones from the beginning, the others on from where they were read to."""
        if numbers == self._ledgers.keys():
            return
        former = self._reader
        reader = await self._eventlog.reader([DEAD_LETTERS], numbers) if numbers else None
        kept = {number: self._ledgers[number] for number in numbers & self._ledgers.keys()}
        if former is not None:
            if reader is not None:
                positions = former.positions()
                reader.seek({place: at for place, at in positions.items() if place.partition in kept})
            await former.close()
        self._reader = reader
        self._ledgers = {number: kept.get(number) or Ledger(self.group) for number in numbers}

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            self._ledgers[record.partition].take(record)

    async def _close_producers(self) -> None:
        producers, self._producers = self._producers, {}
        await asyncio.gather(*(producer.close() for producer in producers.values()))
