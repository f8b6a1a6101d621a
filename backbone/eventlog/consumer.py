"""The one consuming loop: poll, apply, park what cannot be applied, then commit.

Guarantees: an offset is committed only after the effect of its record, so a record is handled at
least once; a dependency that is down, or a handler that fails, stops progress and loses nothing: the
partitions of the batch are read again after a pause, and the probes tell (a handler's defect under the
group's name), while other partitions go on. A record that can never be applied stops its ordering key:
it and every later one of that key are parked in the dead letters, in order, before their offsets are
committed. What people ask of the parked records is done between batches.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from backbone.errors import Busy, SetupError, Unavailable
from backbone.eventlog import (
    DEPENDENCY,
    Assignment,
    Consumer,
    EventLog,
    Fenced,
    Progress,
    Record,
    TopicPartition,
    metrics,
)
from backbone.eventlog.applying import Applier, Handler, Read
from backbone.eventlog.batches import BATCH_LIMITS, BatchLimits, collect, lots, rewind, spans
from backbone.eventlog.parking import Parking
from backbone.eventlog.parking.requests import Clerk
from backbone.eventlog.parking.telling import ParkingTeller
from backbone.eventlog.patience import Patience, pause_s
from backbone.health import Health
from backbone.waiting import stopped_within, until_stopped
from schemas.topics import Topic

STOP_GRACE_S = 2.0
# How often requests about parked records are looked for, and the gauges are set.
LOOK_EVERY_S = 0.5
TELL_EVERY_S = 2.0

E = TypeVar("E")
log = structlog.get_logger()


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
        self._health = health
        self._limits = limits
        self._instance = instance
        self._parking = Parking(eventlog, group, self._topics)
        self._applier = Applier(self._topics, read, handle, self._parking)
        self._clerk = Clerk(eventlog, self._parking, self._applier.apply_after_all)
        self._teller = ParkingTeller(self._parking, health)
        self._consumer: Consumer | None = None
        self._patience = Patience()
        self._held: frozenset[TopicPartition] = frozenset()
        self._generation = 0
        # Where the batch in hand is not committed yet; and the partitions whose gauges are shown.
        self._unfinished: dict[TopicPartition, int] = {}
        self._shown: frozenset[TopicPartition] = frozenset()
        self._look_at_s = 0.0
        self._failures = 0
        self._unattended = 0
        self._down: set[str] = set()

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
        telling = asyncio.create_task(self._keep_telling())
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
        metrics.forget_progress(self._group, self._shown)
        self._held = self._shown = frozenset()
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
            self._note(error)
            if isinstance(error, Fenced):
                # Another member holds what this one took for its own: it has yet to hear of that.
                with suppress(Exception):
                    await self.close()
            self._failures += 1
            return pause_s(self._failures)
        self._failures = 0
        for each in done.errors:
            self._note(each)
        unattended = self._unattended or self._clerk.troubled
        if not done.errors and not self._patience.troubled and not unattended:
            for dependency in {DEPENDENCY, *self._down}:
                self._health.up(dependency)
            self._down.clear()
        elif DEPENDENCY not in self._down:
            self._health.up(DEPENDENCY)
        return 0.0

    async def _step(self) -> "_Done":
        """Read a batch, take over what the assignment brings, apply. Raises Unavailable before any effect."""
        now_s = asyncio.get_running_loop().time
        if self._consumer is None:
            self._consumer = await self._eventlog.consumer(self._group, self._topics, self._instance)
        consumer = self._consumer
        consumer.pause(self._patience.waiting(now_s()))
        records = await collect(consumer, self._limits)
        self._unfinished = {place: span.first for place, span in spans(records).items()}
        try:
            await self._own(consumer.assignment)
            errors = await self._attend()
        except BaseException:
            await rewind(consumer, records)
            raise
        for lot in lots(records, self._patience.troubled, self._limits):
            if not self._parking.owns:
                # What is parked has to be read again before anything else is applied.
                await rewind(consumer, [record for batch in lot for record in batch])
                continue
            error = await self._apply(consumer, lot)
            if error is not None:
                errors.append(error)
        return _Done(len(records), errors)

    async def _own(self, assignment: Assignment) -> None:
        """Take over what the assignment brings, before anything of it is applied."""
        if await self._parking.own(assignment):
            if assignment.places and assignment.generation != self._generation:
                metrics.rebalances.labels(self._group).inc()
            self._generation = assignment.generation
            self._held = assignment.places
            self._patience.keep_only(self._held)
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
                self._patience.failed(spans(rest), _reason(error), now_s())
                for topic, partition in spans(records):
                    metrics.retried.labels(self._group, topic, str(partition)).inc()
                return error
            metrics.batch_seconds.labels(self._group).observe(now_s() - began_s)
        return None

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

    async def _keep_telling(self) -> None:
        """Show how far the partitions are read, whatever the steps are waiting for."""
        while True:
            if self._consumer is not None:
                # That the log does not answer is heard, and told, by the steps.
                with suppress(Unavailable):
                    self._show_progress(await self._consumer.progress())
            await asyncio.sleep(TELL_EVERY_S)

    def _show_progress(self, progress: Mapping[TopicPartition, Progress]) -> None:
        """Show what is committed of the partitions held: a batch in hand is not, however long it takes."""
        held = {
            place: Progress(min(at, self._unfinished.get(place, at)), end)
            for place, (at, end) in progress.items()
            if place in self._held
        }
        metrics.forget_progress(self._group, self._shown - held.keys())
        metrics.show_progress(self._group, held)
        self._shown = frozenset(held)

    def _note(self, error: Exception) -> None:
        """Tell of a failure, in the log and to the probes."""
        if isinstance(error, Unavailable):
            log.warning("consumer_waits", group=self._group, dependency=error.dependency, detail=error.detail)
            if not isinstance(error, Busy):
                self._health.down(error.dependency, error.detail)
                self._down.add(error.dependency)
        else:
            log.error("consumer_failed", group=self._group, error=type(error).__name__, exc_info=error)
            self._health.down(self._group, f"stands still: {type(error).__name__}")
            self._down.add(self._group)


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a step: its records, and what kept partitions from being applied."""

    records: int
    errors: Sequence[Exception]


def _reason(error: Exception) -> str:
    return error.dependency if isinstance(error, Unavailable) else type(error).__name__
