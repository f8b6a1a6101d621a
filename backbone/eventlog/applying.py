"""From records to effects: what is passed over, what is handed to the handler, what must be parked.

Records of a key that is stopped are never handed on. The handler gets events, read and checked; a record
that holds none, or that the handler refuses for good, stops its key, and all later records of that key
in the batch are parked behind it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from backbone.errors import Poison, Unavailable
from backbone.eventlog import Record
from backbone.eventlog.events import ordering_key
from backbone.eventlog.parking import Parking
from backbone.eventlog.parking.letters import BEHIND, Parked, Source
from schemas.topics import Topic

# No effect takes nearly as long.
APPLIED_WITHIN_S = 120.0

E = TypeVar("E")


class Overdue(Unavailable):
    """A batch was not applied in time: a smaller one may be."""


class Taken(NamedTuple, Generic[E]):
    """A record and the event that it holds."""

    record: Record
    event: E


class Refusal(NamedTuple):
    """A record that can never be applied, and why."""

    record: Record
    reason: str


Read = Callable[[Record], E]
"""Returns the event of a record. Raises Poison."""

Handler = Callable[[Sequence[Taken[E]]], Awaitable[Sequence[Refusal]]]
"""Applies a batch and returns what it refuses for good; any error means: not done, try again."""


class Applier(Generic[E]):
    """Applies batches of one group's records."""

    def __init__(self, topics: Sequence[Topic], read: Read[E], handle: Handler[E], parking: Parking) -> None:
        self._topics = {topic.name: topic for topic in topics}
        self._read = read
        self._handle = handle
        self._parking = parking

    async def apply(self, records: Sequence[Record]) -> list[Parked]:
        """Apply what can be applied; return what is to be parked, in order. Raises what the handler raises.

        A tombstone in a topic of events says nothing, and is passed over.
        """
        batch = _Batch[E]()
        blank = self._parking.blank
        for index, record in enumerate(records):
            if record.value is not None and (
                (blank and not batch.stopped) or not self._must_wait(batch, index, record)
            ):
                self._take(batch, index, record)
        if batch.taken:
            refusals = await self._handled(list(batch.taken.values()))
            if refusals:
                self._refuse(batch, {self._parking.source(record): reason for record, reason in refusals})
        return [batch.parked[index] for index in sorted(batch.parked)]

    async def apply_after_all(self, records: Sequence[Record], alone: bool) -> dict[Source, str]:
        """Apply parked records, in order; return those that are refused, with the reason.

        Nothing behind one that cannot be read is applied, unless they stand `alone`. Raises what the
        handler raises; Overdue where that takes too long.
        """
        taken, refused = [], {}
        for record in records:
            try:
                taken.append(Taken(record, self._read(record)))
            except Poison as poison:
                refused[self._parking.source(record)] = str(poison)
                if not alone:
                    break
        refusals = await self._handled(taken) if taken else ()
        return refused | {self._parking.source(record): reason for record, reason in refusals}

    async def _handled(self, batch: Sequence[Taken[E]]) -> Sequence[Refusal]:
        """Have the handler apply a batch; one that hangs is given up. Raises what it raises."""
        try:
            async with asyncio.timeout(APPLIED_WITHIN_S):
                return await self._handle(batch)
        except TimeoutError as error:
            hangs = f"a batch was not applied within {APPLIED_WITHIN_S:g} s"
            raise Overdue(self._parking.group, hangs) from error

    def _take(self, batch: "_Batch[E]", index: int, record: Record) -> None:
        try:
            batch.taken[index] = Taken(record, self._read(record))
        except Poison as poison:
            self._park(batch, index, record, str(poison))

    def _must_wait(self, batch: "_Batch[E]", index: int, record: Record) -> bool:
        """Say if a record is parked: already, or by this for its key is stopped."""
        return self._parking.knows(record) or self._wait(batch, index, record)

    def _wait(self, batch: "_Batch[E]", index: int, record: Record) -> bool:
        """Park the record if its key is stopped; say if it is."""
        key = self._key(record)
        waits = key in batch.stopped or key in self._parking.stops(record.partition)
        if waits:
            self._park(batch, index, record, BEHIND)
        return waits

    def _park(self, batch: "_Batch[E]", index: int, record: Record, reason: str) -> None:
        key = self._key(record)
        if key is not None:
            batch.stopped.add(key)
        told = key or ordering_key(record, self._topics[record.topic]) or str(self._parking.source(record))
        batch.parked[index] = Parked(record, told, key is None, reason)

    def _refuse(self, batch: "_Batch[E]", reasons: Mapping[Source, str]) -> None:
        """Park what was refused and, behind it, what the batch holds of the same keys."""
        batch.stopped.clear()
        for index in sorted({*batch.taken, *batch.parked}):
            if index in batch.parked:
                parked = batch.parked[index]
                batch.stopped |= set() if parked.alone else {parked.ordering_key}
                continue
            record = batch.taken[index].record
            reason = reasons.get(self._parking.source(record))
            if reason is not None:
                self._park(batch, index, record, reason)
            elif batch.stopped:
                self._wait(batch, index, record)

    def _key(self, record: Record) -> str | None:
        """Return the key that the record has a place among; None for one that is not known, or not here.

        Only a record in its key's own partition has a place: elsewhere there is no order to keep.
        """
        key = ordering_key(record, self._topics[record.topic])
        return key if key and self._parking.at_home(key, record.partition) else None


@dataclass(slots=True)
class _Batch(Generic[E]):
    """What becomes of the records of a batch, by their index."""

    taken: dict[int, Taken[E]] = field(default_factory=dict)
    parked: dict[int, Parked] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
