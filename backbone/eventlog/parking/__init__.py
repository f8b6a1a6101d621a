"""The parking of a group: what its member may not apply yet, or never can, kept in `dead-letters`.

Whoever holds partition n of the group's topics holds partition n of the dead letters, and writes there
behind a fence. A new owner takes the fence, then reads that partition to its end, before it applies
anything: so keys that are stopped stay so through restarts and rebalances, and nothing of a former
owner appears later. Order is the offset in the dead letters.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

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
from backbone.eventlog.reading import READ_AT_ONCE, read_to_end
from backbone.eventlog.topic_state import require, require_same_partitions
from schemas.topics import DEAD_LETTERS, Topic, partition_of


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
    def stopped_keys(self) -> int:
        """How many ordering keys are stopped."""
        return sum(len(ledger.by_key) for ledger in self._ledgers.values())

    @property
    def parked_records(self) -> int:
        """How many records are parked."""
        return sum(ledger.size for ledger in self._ledgers.values())

    async def own(self, assignment: Assignment) -> bool:
        """Take over what the assignment brings; nothing of it may be applied before. Say if it was new.

        Raises Unavailable, or SetupError where the topics' partitions do not match.
        """
        if assignment.generation == self._generation:
            return False
        numbers = {place.partition for place in assignment.places}
        if not self._partitions or not numbers <= self._ledgers.keys():
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
    def owns(self) -> bool:
        """Whether what is parked is known; while it is not, nothing may be applied."""
        return self._generation is not None

    @property
    def blank(self) -> bool:
        """Whether nothing is parked, nor was of late."""
        return all(ledger.blank for ledger in self._ledgers.values())

    def knows(self, record: Record) -> bool:
        """Whether this very record is parked, or was and is dealt with."""
        source = self.source(record)
        return any(ledger.knows(source) for ledger in self._ledgers.values())

    def stops(self, partition: int) -> Mapping[str, object]:
        """Return the keys of a partition that are stopped."""
        return self._ledgers[partition].by_key

    def at_home(self, ordering_key: str, partition: int) -> bool:
        """Whether the records of a key belong into this partition."""
        return partition_of(ordering_key, self._partitions) == partition

    def source(self, record: Record) -> Source:
        """Return the name of a record in the dead letters."""
        return Source(self._eventlog.full_name(record.topic), record.partition, record.offset)

    async def park(self, number: int, parked: Sequence[Parked]) -> None:
        """Write the letters of records of one partition, in order.

        Raises Unavailable; Fenced when the partition is another's by now.
        """
        full_name = self._eventlog.full_name
        await self.send(
            number, [letter_of(self.group, full_name(each.record.topic), each) for each in parked]
        )
        for each in parked:
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
        async with self._reading() as reader:
            while reader is not None:
                records = await reader.read(READ_AT_ONCE, 0.0)
                self._take(records)
                if not records:
                    break

    async def catch_up(self) -> None:
        """Take in all that lies in the dead letters by now. Raises Unavailable."""
        async with self._reading() as reader:
            if reader is not None:
                # Behind another group's transaction that is not decided may lie letters of this one.
                async for records in read_to_end(reader, undecided=True):
                    self._take(records)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Reader | None]:
        """Give the reader; one that fails is given up, and all is read again behind another."""
        try:
            yield self._reader
        except BaseException:
            # Whatever it was: what was read may not have been taken in.
            self._generation = None
            self._ledgers = {}
            reader, self._reader = self._reader, None
            if reader is not None:
                await reader.close()
            raise

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
