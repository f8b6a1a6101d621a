"""A member of a consumer group of Kafka, on aiokafka.

Offsets are committed only when asked, and only while the assignment is the one under which the batch
was read; a rebalance waits a few seconds for the batch in hand. A driver that failed, or that stands
still while records lie before it, is made anew.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from zlib import crc32

import structlog
from aiokafka import AIOKafkaConsumer
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
from backbone.eventlog.kafka.watch import BatchInHand, Lookout, Rebalances

SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_INTERVAL_MS = 1_000
REBALANCE_GRACE_S = 5.0
# What is held in memory before it is polled: as much as one answer of each broker.
FETCH_MAX_BYTES = 16 * 1024 * 1024
PARTITION_FETCH_MAX_BYTES = 1024 * 1024
CHECK_INTERVAL_S = 5.0
LOST_WITH_A_NAME = 5
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
        self._in_hand = BatchInHand()
        self._lost_in_a_row = 0
        self._lost_under = -1
        self._committing: asyncio.Task[None] | None = None
        self._lookout = Lookout(self._look)

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
            driver.subscribe(self._topics, listener=Rebalances(self.revoked, self.assigned))
            self._driver = driver
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
            self._in_hand.clear()
            await self._give_up_what_stands_still()
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
        drained = sum(map(len, fetched.values())) < max_records
        self._lookout.polled(driver.assignment() - self._paused, fetched, drained=drained)
        if fetched:
            self._assignment_read = self._assignment
            self._in_hand.take(fetched)
            self._handed_out.update({place: batch[-1].offset + 1 for place, batch in fetched.items()})
        elif not more:
            # Nothing is in hand: what is asked for from here on is of the present assignment.
            self._assignment_read = self._assignment
            self._lookout.require_answer()
            await self._commit_past_markers(driver)
        return self._names.records(fetched)

    async def commit(self, positions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """See Consumer."""
        driver, offsets = self._held(positions)
        if driver is None or not offsets or not await self._commit_if_held(driver, offsets):
            await self._note_lost()
            return {}
        self._lost_in_a_row = 0
        self._in_hand.put_down([each for each in offsets if offsets[each] >= self._handed_out.get(each, 0)])
        return {self._names.from_kafka(place): offset for place, offset in offsets.items()}

    async def rewind(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Consumer."""
        driver, offsets = self._held(positions)
        if driver is not None:
            for place, offset in offsets.items():
                driver.seek(place, offset)
                self._handed_out[place] = offset
            self._in_hand.put_down(offsets.keys())

    async def progress(self) -> Mapping[TopicPartition, Progress]:
        """See Consumer; a driver that is being made anew has none."""
        driver = self._driver
        if driver is None:
            return {}
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
        await self._discard()

    async def revoked(self) -> None:
        """Give the batch in hand a few seconds to be committed before the partitions go."""
        if not await self._in_hand.put_down_within(REBALANCE_GRACE_S):
            log.info("batch_outlived_its_assignment", group=self._group)

    def assigned(self) -> None:
        """Note that from here on batches are read under another assignment."""
        self._forget_batches()
        self._lookout.clear()

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
        self._in_hand.clear()

    async def _note_lost(self) -> None:
        """Give the member's name up where commits are lost one after the other: somebody else goes by it.

        Each of two members with one name takes the place of the other, for ever.
        """
        if self._lost_under == self._assignment:
            return
        self._lost_under = self._assignment
        self._lost_in_a_row += 1
        if self._instance is not None and self._lost_in_a_row >= LOST_WITH_A_NAME:
            log.warning("instance_name_given_up", group=self._group, remedy="set MAEARI_INSTANCE")
            self._instance = None
            await self._discard()

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

    async def _commit_if_held(self, driver: AIOKafkaConsumer, offsets: Mapping[KafkaPartition, int]) -> bool:
        """Commit, but nothing of what has become another's; say if it was done. Raises Unavailable."""
        assignment = self._assignment
        try:
            async with answering("commit", FAILOVER_TIMEOUT_S):
                await self._commit(driver, offsets)
        except Unavailable as error:
            if not isinstance(error.__cause__, CommitFailedError | IllegalStateError):
                raise
            log.info("commit_of_lost_partitions_dropped", group=self._group, reason=error.detail)
            return False
        if assignment == self._assignment:
            self._committed.update(offsets)
        return True

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

    async def _look(self) -> Mapping[KafkaPartition, Progress]:
        """Tell brokers that are gone from a log without news. Raises Unavailable."""
        driver = self._driver
        if driver is not None and not driver.assignment():
            async with answering("metadata", ANSWER_TIMEOUT_S):
                await driver.topics()
        return {self._names.to_kafka(place): each for place, each in (await self.progress()).items()}

    async def _give_up_what_stands_still(self) -> None:
        stuck = self._lookout.stuck(CHECK_INTERVAL_S) if self._driver is not None else ()
        if stuck:
            log.warning("kafka_consumer_stands_still", group=self._group, partitions=len(stuck))
            await self._discard()

    async def _discard(self) -> None:
        driver, self._driver = self._driver, None
        committing, self._committing = self._committing, None
        self._forget_batches()
        self._lookout.clear()
        if committing is not None:
            committing.cancel()
        if driver is not None:
            await stop(driver)
