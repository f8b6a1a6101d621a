"""A member of a consumer group of Kafka, on aiokafka.

Offsets are committed only when asked, and only while the assignment is the one under which the batch
was read; a rebalance waits a few seconds for the batch in hand. A driver that failed, or that stands
still while records lie before it, is made anew.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from zlib import crc32

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Assignment, Progress, Record, TopicPartition
from backbone.eventlog.kafka.connection import (
    ANSWER_TIMEOUT_S,
    DRIVER_ERRORS,
    FAILOVER_TIMEOUT_S,
    Cluster,
    answering,
    one_line,
    stop,
)
from backbone.eventlog.kafka.records import Names

SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_INTERVAL_MS = 1_000
REBALANCE_GRACE_S = 5.0
# What is held in memory before it is polled: as much as one answer of each broker.
FETCH_MAX_BYTES = 16 * 1024 * 1024
PARTITION_FETCH_MAX_BYTES = 1024 * 1024
CHECK_INTERVAL_S = 5.0
STANDSTILL_S = 30.0
_POSITIONS_WITHIN_S = 0.2

log = structlog.get_logger()


class KafkaConsumer:
    """See Consumer."""

    def __init__(
        self,
        cluster: Cluster,
        names: Names,
        group: str,
        topics: Sequence[str],
        instance: str | None,
        on_close: Callable[["KafkaConsumer"], None],
    ) -> None:
        self._cluster = cluster
        self._on_close = on_close
        self._names = names
        self._group = group
        self._topics = [names.full(topic) for topic in topics]
        # A member that comes back is given what it held, even where it asks for other topics by now.
        self._instance = instance and f"{instance}-{crc32(' '.join(self._topics).encode()):08x}"
        self._driver: AIOKafkaConsumer | None = None
        self._assignment = 0
        self._assignment_read = 0
        self._paused: frozenset[KafkaPartition] = frozenset()
        # Under the present assignment, by partition: the end of what was handed out, and what was committed.
        self._handed_out: dict[KafkaPartition, int] = {}
        self._committed: dict[KafkaPartition, int] = {}
        self._no_batch_in_hand = asyncio.Event()
        self._no_batch_in_hand.set()
        self._committing: asyncio.Task[None] | None = None
        self._checked_s = 0.0
        self._standing: dict[TopicPartition, tuple[int, float]] = {}

    async def open(self) -> AIOKafkaConsumer:
        """Connect and ask to join; partitions come with the polls. Raises Unavailable."""
        if self._driver is None:
            driver = AIOKafkaConsumer(
                **self._cluster.options,
                group_id=self._group,
                group_instance_id=self._instance,
                partition_assignment_strategy=(RangePartitionAssignor,),
                enable_auto_commit=False,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                fetch_max_wait_ms=200,
                fetch_max_bytes=FETCH_MAX_BYTES,
                max_partition_fetch_bytes=PARTITION_FETCH_MAX_BYTES,
                session_timeout_ms=SESSION_TIMEOUT_MS,
                heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            )
            await self._cluster.start(driver)
            driver.subscribe(self._topics, listener=_Rebalance(self))
            self._driver = driver
            self._standing.clear()
        return self._driver

    @property
    def assignment(self) -> Assignment:
        """See Consumer."""
        held = self._driver.assignment() if self._driver is not None else ()
        return Assignment(self._assignment, frozenset(map(self._names.from_kafka, held)))

    def pause(self, places: Collection[TopicPartition]) -> None:
        """See Consumer."""
        self._paused = frozenset(map(self._names.to_kafka, places))

    async def poll(self, max_records: int, timeout_s: float, more: bool = False) -> list[Record]:
        """See Consumer."""
        if not more:
            self._no_batch_in_hand.set()
        driver = await self.open()
        self._leave_paused_alone(driver)
        try:
            async with asyncio.timeout(timeout_s + 0.05):
                fetched = await driver.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except TimeoutError:
            # The group is being rebalanced: aiokafka waits for that without a limit.
            fetched = {}
        except DRIVER_ERRORS as error:
            await self._discard()
            raise Unavailable(DEPENDENCY, f"fetch: {one_line(error)}") from error
        if fetched:
            self._assignment_read = self._assignment
            self._no_batch_in_hand.clear()
            self._handed_out.update({place: batch[-1].offset + 1 for place, batch in fetched.items()})
        elif not more:
            await self._commit_past_markers(driver)
            await self._check_progress()
        return self._names.records(fetched)

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Consumer."""
        driver, offsets = self._held(positions)
        if driver is None or not offsets:
            return
        await self._commit_if_held(driver, offsets)
        self._no_batch_in_hand.set()

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Consumer."""
        driver, offsets = self._held(positions)
        if driver is not None:
            for place, offset in offsets.items():
                driver.seek(place, offset)
                self._handed_out[place] = offset
        self._no_batch_in_hand.set()

    async def progress(self) -> Mapping[TopicPartition, Progress]:
        """See Consumer."""
        driver = await self.open()
        async with answering("progress", ANSWER_TIMEOUT_S):
            places = list(driver.assignment())
            ends = await driver.end_offsets(places)
            return {
                self._names.from_kafka(place): Progress(await driver.position(place), end)
                for place, end in ends.items()
                if place in driver.assignment()
            }

    async def close(self) -> None:
        """See Consumer."""
        self._on_close(self)
        self._no_batch_in_hand.set()
        await self._discard()

    async def revoked(self) -> None:
        """Give the batch in hand a few seconds to be committed before the partitions go."""
        try:
            async with asyncio.timeout(REBALANCE_GRACE_S):
                await self._no_batch_in_hand.wait()
        except TimeoutError:
            log.info("batch_outlived_its_assignment", group=self._group)

    def assigned(self) -> None:
        """Note that from here on batches are read under another assignment."""
        self._forget_batches()
        self._standing.clear()

    def _leave_paused_alone(self, driver: AIOKafkaConsumer) -> None:
        """Tell the driver what to leave alone; it forgets that with each assignment."""
        paused, present = self._paused & driver.assignment(), driver.paused()
        if paused != present:
            driver.resume(*(present - paused))
            driver.pause(*(paused - present))

    def _forget_batches(self) -> None:
        self._assignment += 1
        self._handed_out.clear()
        self._committed.clear()

    async def _commit_past_markers(self, driver: AIOKafkaConsumer) -> None:
        """Commit the positions where everything before them was committed.

        Behind a transaction's records lies its marker, which is no record: else a group that has read all
        would stay one offset before the end.
        """
        offsets = {}
        try:
            async with asyncio.timeout(_POSITIONS_WITHIN_S):
                for place in driver.assignment():
                    position = await driver.position(place)
                    committed = self._committed.get(place, 0)
                    if committed >= self._handed_out.get(place, 0) and committed < position:
                        offsets[place] = position
        except (TimeoutError, IllegalStateError):
            return  # the partitions are just being assigned
        if offsets:
            await self._commit_if_held(driver, offsets)

    async def _commit_if_held(self, driver: AIOKafkaConsumer, offsets: Mapping[KafkaPartition, int]) -> None:
        """Commit; for partitions that have become another member's that does nothing. Raises Unavailable."""
        assignment = self._assignment
        try:
            async with answering("commit", FAILOVER_TIMEOUT_S):
                await self._commit(driver, offsets)
        except Unavailable as error:
            if not isinstance(error.__cause__, CommitFailedError | IllegalStateError):
                raise
            log.info("commit_of_lost_partitions_dropped", group=self._group, reason=error.detail)
        else:
            if assignment == self._assignment:
                self._committed.update(offsets)

    async def _commit(self, driver: AIOKafkaConsumer, offsets: Mapping[KafkaPartition, int]) -> None:
        """Commit in a task that outlives the caller's patience: aiokafka does not bear being interrupted.

        One that is late is waited for before the next: until then its offsets are the newest anyway.
        """
        if self._committing is not None:
            await asyncio.wait((self._committing,))
        self._committing = asyncio.create_task(driver.commit(offsets))
        self._committing.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._committing)

    def _held(
        self, positions: Mapping[TopicPartition, int]
    ) -> tuple[AIOKafkaConsumer | None, dict[KafkaPartition, int]]:
        """Return those of the positions that are still ours since the batch was read."""
        if self._driver is None or self._assignment_read != self._assignment:
            return self._driver, {}
        offsets = {self._names.to_kafka(place): offset for place, offset in positions.items()}
        held = self._driver.assignment()
        return self._driver, {place: offset for place, offset in offsets.items() if place in held}

    async def _check_progress(self) -> None:
        """Tell brokers that are gone, and a driver that stands still, from a log without news."""
        now_s = asyncio.get_running_loop().time()
        if self._driver is None or now_s - self._checked_s < CHECK_INTERVAL_S:
            return
        before, self._standing = self._standing, {}
        if not self._driver.assignment():
            async with answering("metadata", ANSWER_TIMEOUT_S):
                await self._driver.topics()
        progress = await self.progress()
        self._checked_s = now_s
        for place, each in progress.items():
            if self._names.to_kafka(place) in self._paused:
                continue
            known, since_s = before.get(place, (-1, now_s))
            stands = each.lag > 0 and each.position == known
            self._standing[place] = (each.position, since_s if stands else now_s)
        stuck = [place for place, (_, since_s) in self._standing.items() if now_s - since_s > STANDSTILL_S]
        if stuck:
            log.warning("kafka_consumer_stands_still", group=self._group, partitions=len(stuck))
            await self._discard()

    async def _discard(self) -> None:
        driver, self._driver = self._driver, None
        committing, self._committing = self._committing, None
        self._forget_batches()
        if committing is not None:
            committing.cancel()
        if driver is not None:
            await stop(driver)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    """What aiokafka calls around a rebalance."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        if revoked:
            await self._consumer.revoked()

    async def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        self._consumer.assigned()
