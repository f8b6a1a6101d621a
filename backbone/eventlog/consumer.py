"""The one consuming loop: poll, apply, park what is refused, then commit.

Guarantees: an offset is committed only after the effect of its record, so a record is handled at
least once; a dependency that is down, or a handler that fails, stops progress and loses nothing:
the batch is read again after a pause, and the probes tell (a handler's defect under the group's name).
A refused record is parked in the dead letters before its offset is committed; later records of the same
key go on.
"""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from backbone.errors import Busy, SetupError, Unavailable
from backbone.eventlog import DEPENDENCY, Consumer, EventLog, Producer, Record, TopicPartition
from backbone.eventlog.dead_letters import dead_letter
from backbone.health import Health
from backbone.waiting import stopped_within, until_stopped
from schemas.topics import Topic

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
STOP_GRACE_S = 2.0

log = structlog.get_logger()

_LABELS = ("group", "topic")
_consumed = Counter("maeari_consumer_records", "Records handled and committed.", _LABELS)
_retried = Counter("maeari_consumer_retries", "Batches with records of the topic that failed.", _LABELS)
_parked = Counter("maeari_consumer_parked", "Records parked in the dead letters.", _LABELS)


class Refusal(NamedTuple):
    """A record that can never be applied, and why."""

    record: Record
    reason: str


Handler = Callable[[Sequence[Record]], Awaitable[Sequence[Refusal]]]
"""Applies a batch and returns the records that it refuses for good; any error means: not done, try again."""


class ConsumingLoop:
    """One member of a group that hands its records to a handler, batch by batch."""

    def __init__(
        self,
        eventlog: EventLog,
        group: str,
        topics: Sequence[Topic],
        handle: Handler,
        health: Health,
        *,
        max_records: int = 500,
        poll_timeout_s: float = 0.2,
    ) -> None:
        self._eventlog = eventlog
        self._group = group
        self._topics = tuple(topics)
        self._handle = handle
        self._health = health
        self._max_records = max_records
        self._poll_timeout_s = poll_timeout_s
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._failures = 0
        self._batch_failed = False
        self._troubled: set[str] = set()

    async def step(self) -> int:
        """Read and apply one batch; return its number of records.

        Raises Unavailable, or whatever the handler raised: nothing is committed then, and the next
        step reads the batch again. Raises SetupError when a topic is missing.
        """
        consumer = await self._member()
        records = await consumer.poll(self._max_records, self._poll_timeout_s)
        if not records:
            if self._batch_failed:
                # With nothing before it, the failed batch is another member's by now.
                self._batch_failed = any((await consumer.lag()).values())
            return 0
        self._batch_failed = True
        try:
            await self._park(await self._handle(records))
            await consumer.commit(_positions_after(records))
            self._batch_failed = False
        finally:
            if self._batch_failed:
                self._count(_retried, {record.topic: 1 for record in records})
                await consumer.rewind(_positions_before(records))
        self._count(_consumed, Tally(record.topic for record in records))
        return len(records)

    async def run(self, stop: asyncio.Event) -> None:
        """Step until `stop` is set; a step under way then gets a few seconds to finish.

        Raises SetupError; every other trouble is noted, and tried again after a growing pause.
        """
        while not stop.is_set():
            pause_s = await until_stopped(self._attempt(), stop, STOP_GRACE_S)
            if pause_s:
                await stopped_within(stop, pause_s)

    async def close(self) -> None:
        """Leave the group."""
        consumer, self._consumer = self._consumer, None
        producer, self._producer = self._producer, None
        if consumer is not None:
            await consumer.close()
        if producer is not None:
            await producer.close()

    async def _attempt(self) -> float:
        """Make one step and note how it went; return the pause before the next, in seconds."""
        try:
            records = await self.step()
        except Unavailable as error:
            log.warning("consumer_waits", group=self._group, dependency=error.dependency, detail=error.detail)
            if not isinstance(error, Busy):
                self._down(error.dependency, error.detail)
        except SetupError:
            raise
        except Exception as error:
            # A defect of the handler must not end the process's work for good, nor skip the batch.
            log.exception("consumer_failed", group=self._group, error=type(error).__name__)
            self._down(self._group, f"stands still: {type(error).__name__}")
        else:
            self._recovered(records)
            return 0.0
        self._failures += 1
        return _pause_s(self._failures)

    def _down(self, dependency: str, detail: str) -> None:
        self._health.down(dependency, detail)
        self._troubled.add(dependency)

    def _recovered(self, records: int) -> None:
        """Note what is known to work: an empty poll after a failed batch only says that the log answers."""
        self._health.up(DEPENDENCY)
        if records or not self._batch_failed:
            for dependency in self._troubled:
                self._health.up(dependency)
            self._troubled.clear()
            self._failures = 0

    async def _member(self) -> Consumer:
        if self._consumer is None:
            self._consumer = await self._eventlog.consumer(self._group, self._topics)
        return self._consumer

    async def _park(self, refusals: Sequence[Refusal]) -> None:
        if not refusals:
            return
        if self._producer is None:
            self._producer = await self._eventlog.producer()
        full_name = self._eventlog.full_name
        await self._producer.send(
            [dead_letter(self._group, full_name(record.topic), record, reason) for record, reason in refusals]
        )
        for record, reason in refusals:
            log.error(
                "record_parked",
                group=self._group,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=reason,
            )
        self._count(_parked, Tally(refusal.record.topic for refusal in refusals))

    def _count(self, counter: Counter, by_topic: Mapping[str, int]) -> None:
        for topic, number in by_topic.items():
            counter.labels(self._group, topic).inc(number)


def _positions_before(records: Sequence[Record]) -> dict[TopicPartition, int]:
    return {record.topic_partition: record.offset for record in reversed(records)}


def _positions_after(records: Sequence[Record]) -> dict[TopicPartition, int]:
    return {record.topic_partition: record.offset + 1 for record in records}


def _pause_s(failures: int) -> float:
    """Return a pause that doubles with each failure up to a bound, less up to half of it by chance."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)
