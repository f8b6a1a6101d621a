"""The one consuming loop: poll, apply, park what cannot be applied, then commit.

Guarantees: an offset is committed only after the effect of its record, so a record is handled at
least once; a dependency that is down, or a handler that fails, stops progress and loses nothing: the
partitions of the batch are read again after a pause, and the probes tell (a handler's defect under the
group's name), while other partitions go on. A record that can never be applied stops its ordering key:
it and every later one of that key are parked in the dead letters, in order, before their offsets are
committed. What people ask of the parked records is done between batches.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from backbone.background import keep_doing
from backbone.errors import SetupError, Unavailable
from backbone.eventlog import (
    Assignment,
    Consumer,
    EventLog,
    Fenced,
    Progress,
    Record,
    TopicPartition,
    metrics,
)
from backbone.eventlog.applying import APPLIED_WITHIN_S, Applier, Handler, Overdue, Read
from backbone.eventlog.batches import BATCH_LIMITS, BatchLimits, collect, lots, rewind, spans
from backbone.eventlog.parking import Parking
from backbone.eventlog.parking.requests import Clerk
from backbone.eventlog.parking.telling import ParkingTeller
from backbone.eventlog.patience import Pace, Patience, pause_s, reason_of
from backbone.eventlog.telling import MemberTeller
from backbone.health import Health
from backbone.waiting import stopped_within, until_stopped
from schemas.topics import Topic

STOP_GRACE_S = 2.0
# How often requests about parked records are looked for, and the gauges are set.
LOOK_EVERY_S = 0.5
TELL_EVERY_S = 2.0

E = TypeVar("E")


class ConsumingLoop(Generic[E]):
    """One member of a group that hands its events to a handler, batch by batch."""

    def __init__(
        self,
        eventlog: EventLog,
        group: str,
        topics: Sequence[Topic],
        read: Read[E],
        handle: Handler[E],
        health: Health,
        *,
        limits: BatchLimits = BATCH_LIMITS,
        instance: str | None = None,
    ) -> None:
        """`instance` is a name that the member keeps over restarts, see EventLog.consumer."""
        self._eventlog = eventlog
        self._group = group
        self._topics = tuple(topics)
        self._limits = limits
        self._instance = instance
        self._parking = Parking(eventlog, group, self._topics)
        self._applier = Applier(self._topics, read, handle, self._parking)
        self._clerk = Clerk(eventlog, self._parking, self._applier.apply_after_all)
        self._teller = ParkingTeller(self._parking, health)
        self._told = MemberTeller(group, health)
        self._consumer: Consumer | None = None
        self._patience = Patience()
        self._pace = Pace(APPLIED_WITHIN_S / 4)
        self._held: frozenset[TopicPartition] = frozenset()
        self._generation = 0
        # Where the batch in hand is not committed yet; another object with each batch.
        self._unfinished: dict[TopicPartition, int] = {}
        self._look_at_s = 0.0
        self._failures = 0
        self._unattended = 0
        self._unattended_for: frozenset[str] = frozenset()

    @property
    def parked(self) -> int:
        """How many records are parked in the partitions that this member holds."""
        return self._parking.parked_records

    async def step(self) -> int:
        """Read and apply one batch; return its number of records.

        Raises Unavailable, or whatever the handler raised: nothing of the partitions that failed is
        committed then, and they are read again. Raises SetupError when a topic is missing.
        """
        done = await self._step()
        if done.errors:
            raise done.errors[0]
        return done.records

    async def run(self, stop: asyncio.Event) -> None:
        """Step until `stop` is set; a step under way then gets a few seconds to finish.

        Raises SetupError; every other trouble is noted, and tried again after a growing pause.
        """
        telling = asyncio.create_task(keep_doing(f"progress of {self._group}", self._tell, TELL_EVERY_S))
        try:
            while not stop.is_set():
                wait_s = await until_stopped(self._attempt(), stop, STOP_GRACE_S)
                if wait_s:
                    await stopped_within(stop, wait_s)
        finally:
            telling.cancel()
            await asyncio.wait({telling})

    async def close(self) -> None:
        """Leave the group."""
        self._held = frozenset()
        self._told.show({})
        consumer, self._consumer = self._consumer, None
        try:
            await self._parking.close()
        finally:
            if consumer is not None:
                await consumer.close()

    async def _attempt(self) -> float:
        """Make one step and note how it went; return the pause before the next, in seconds."""
        try:
            done = await self._step()
        except SetupError:
            raise
        except Exception as error:  # noqa: BLE001 - no defect must end the process's work for good
            self._told.failed(error)
            if isinstance(error, Fenced):
                # Another member holds what this one took for its own: it has yet to hear of that.
                with suppress(Exception):
                    await self.close()
            self._failures += 1
            return pause_s(self._failures)
        self._failures = 0
        for each in done.errors:
            self._told.failed(each)
        waiting = (self._patience.reasons, self._clerk.reasons, self._unattended_for)
        self._told.show_up_but_for({*map(reason_of, done.errors)}.union(*waiting))
        return 0.0

    async def _step(self) -> "_Done":
        """Read a batch, take over what the assignment brings, apply. Raises Unavailable before any effect."""
        now_s = asyncio.get_running_loop().time
        if self._consumer is None:
            self._consumer = await self._eventlog.consumer(self._group, self._topics, self._instance)
        consumer = self._consumer
        consumer.pause(self._patience.waiting(now_s()))
        records = await collect(consumer, self._limits)
        if records or self._unfinished:
            self._unfinished = {place: span.first for place, span in spans(records).items()}
        try:
            await self._own(consumer.assignment)
            errors = await self._attend()
            if errors or not self._unattended:
                self._unattended_for = frozenset(map(reason_of, errors))
        except BaseException:
            await rewind(consumer, records)
            raise
        apart = dict.fromkeys(self._patience.troubled, self._limits.records) | self._pace.at_most
        for lot in lots(records, apart, self._limits):
            if self._is_put_off(lot):
                await rewind(consumer, [record for batch in lot for record in batch])
                continue
            error = await self._apply(consumer, lot)
            if error is not None:
                errors.append(error)
        return _Done(len(records), errors)

    def _is_put_off(self, lot: Sequence[Sequence[Record]]) -> bool:
        """Say if a lot has to wait: until what is parked is read again, or until its partition's turn.

        Another lot's failure may just have found out for it.
        """
        waiting = self._patience.waiting(asyncio.get_running_loop().time())
        return not self._parking.owns or any(batch[0].topic_partition in waiting for batch in lot)

    async def _own(self, assignment: Assignment) -> None:
        """Take over what the assignment brings, before anything of it is applied."""
        if await self._parking.own(assignment):
            if assignment.places and assignment.generation != self._generation:
                metrics.rebalances.labels(self._group).inc()
            self._generation = assignment.generation
            self._held = assignment.places
            self._patience.keep_only(self._held)
            self._pace.keep_only(self._held)
            self._teller.show()

    async def _attend(self) -> list[Exception]:
        """Do what is asked of the parked records; return what kept it from being done now."""
        now_s = asyncio.get_running_loop().time
        if now_s() < self._look_at_s:
            return []
        try:
            attended = await self._clerk.attend()
        except Exception as error:  # what cannot be done now keeps no batch from being applied
            if not self._parking.owns:
                raise
            self._unattended += 1
            self._look_at_s = now_s() + pause_s(self._unattended)
            return [error]
        self._unattended = 0
        self._teller.show()
        if not attended.done:
            self._look_at_s = now_s() + LOOK_EVERY_S
        return list(attended.troubles)

    async def _apply(self, consumer: Consumer, lot: Sequence[Sequence[Record]]) -> Exception | None:
        """Apply a lot, batch after batch; return what kept the rest of it from being applied."""
        now_s = asyncio.get_running_loop().time
        for index, records in enumerate(lot):
            began_s = now_s()
            rest = [record for batch in lot[index:] for record in batch]
            try:
                await self._apply_batch(consumer, records)
            except BaseException as error:
                await rewind(consumer, rest)
                # Anything else, a handler's defect included, must not end the process's work.
                if isinstance(error, Fenced) or not isinstance(error, Exception):
                    raise
                self._note_failed(records, rest, error)
                return error
            took_s = now_s() - began_s
            metrics.batch_seconds.labels(self._group).observe(took_s)
            if self._pace.at_most:
                self._pace.took(spans(records), took_s, self._limits.records)
                if not self._pace.at_most.keys().isdisjoint(spans(records)):
                    # The next of a slow partition is another step's: the others are not kept waiting.
                    await rewind(consumer, [record for batch in lot[index + 1 :] for record in batch])
                    return None
        return None

    def _note_failed(self, batch: Sequence[Record], rest: Sequence[Record], error: Exception) -> None:
        if isinstance(error, Overdue):
            self._pace.overdue(spans(batch))
        self._patience.failed(spans(rest), reason_of(error), asyncio.get_running_loop().time())
        for topic, partition in spans(batch):
            metrics.retried.labels(self._group, topic, str(partition)).inc()

    async def _apply_batch(self, consumer: Consumer, records: Sequence[Record]) -> None:
        parked = await self._applier.apply(records)
        for number in sorted({each.record.partition for each in parked}):
            lot = [each for each in parked if each.record.partition == number]
            await self._parking.park(number, lot)
            self._teller.parked(lot)
        done = spans(records)
        stored = await consumer.commit({place: span.after for place, span in done.items()})
        self._parking.committed(stored)
        self._unfinished.update(stored)
        self._patience.succeeded(done)
        for topic, partition in stored:
            number = done[TopicPartition(topic, partition)].records
            metrics.consumed.labels(self._group, topic, str(partition)).inc(number)
        for record in records:
            if record.value is None and record.topic_partition in stored:
                metrics.passed_over.labels(self._group, record.topic).inc()

    async def _tell(self) -> None:
        """Show how far the partitions are read, whatever the steps are waiting for.

        What is committed is shown: a batch in hand is not, however long it takes.
        """
        if self._consumer is None:
            return
        unfinished = self._unfinished
        try:
            progress = await self._consumer.progress()
        except Unavailable:
            return  # the steps hear of that, and tell it
        held = {
            place: Progress(min(at, self._unfinished.get(place, at)), end)
            for place, (at, end) in progress.items()
            if place in self._held
        }
        self._told.show(held)
        if unfinished is self._unfinished:
            # Where nothing is left, what failed expired meanwhile: there is nothing to be tried again.
            self._patience.keep_only(self._held - {place for place, each in held.items() if not each.lag})


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a step: its records, and what kept partitions from being applied."""

    records: int
    errors: Sequence[Exception]
