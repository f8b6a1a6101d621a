"""Appends to Kafka: idempotent, acknowledged by all replicas in sync, one batch a partition at a time.

A send that got no answer in time raises Unavailable while its records may still arrive. Until their
fate is known nothing else is sent, so a retry never overtakes them.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, NewRecord, RecordTooLarge
from backbone.eventlog.kafka.connection import (
    DRIVER_ERRORS,
    FAILOVER_TIMEOUT_S,
    STOP_TIMEOUT_S,
    Cluster,
    answering,
    one_line,
    stop,
)
from backbone.eventlog.kafka.records import Names
from backbone.eventlog.topic_state import missing_message
from schemas.topics import partition_of

LAST_CHANCE_S = 1.0
BATCH_BYTES = 128 * 1024

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

log = structlog.get_logger()


class KafkaProducer:
    """See Producer; a driver that has failed for good is replaced by a new one at the next send."""

    def __init__(
        self,
        cluster: Cluster,
        names: Names,
        compression: str,
        on_close: Callable[["KafkaProducer"], None],
    ) -> None:
        self._cluster = cluster
        self._on_close = on_close
        self._names = names
        self._compression = None if compression == "none" else compression
        self._driver: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._known: set[str] = set()
        self._overdue: set[asyncio.Future[object]] = set()

    async def send(self, records: Sequence[NewRecord]) -> None:
        """See Producer."""
        if not records:
            return
        RecordTooLarge.check(records)
        driver = await self.open()
        pending: list[asyncio.Future[object]] = []
        try:
            async with answering("append", FAILOVER_TIMEOUT_S):
                if overdue := set(self._overdue):
                    await asyncio.wait(overdue)
                    self._overdue -= overdue
                await self._enqueue(driver, records, pending)
                await asyncio.wait(pending)
        finally:
            self._overdue.update(future for future in pending if not future.done())
            await self._replace_if_broken(driver, pending)
        for future in pending:
            self._raise_for(future.exception())

    async def open(self) -> AIOKafkaProducer:
        """Connect, if there is no connection yet. Raises Unavailable."""
        async with self._opening:
            if self._driver is None:
                driver = AIOKafkaProducer(
                    **self._cluster.options,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    compression_type=self._compression,
                )
                await self._cluster.start(driver)
                self._driver = driver
            return self._driver

    async def close(self) -> None:
        """See Producer."""
        self._on_close(self)
        driver, self._driver = self._driver, None
        if driver is not None:
            await _stop(driver, self._overdue)

    async def _enqueue(
        self, driver: AIOKafkaProducer, records: Sequence[NewRecord], pending: list[asyncio.Future[object]]
    ) -> None:
        """Hand the records over in batches, a partition's in order; each batch adds a future to `pending`."""
        partitions = {topic: await self._partitions(driver, topic) for topic in {r.topic for r in records}}
        by_partition: dict[tuple[str, int], list[NewRecord]] = {}
        for record in records:
            partition = partition_of(record.ordering_key, partitions[record.topic])
            by_partition.setdefault((record.topic, partition), []).append(record)
        for (topic, partition), lot in by_partition.items():
            full_name = self._names.full(topic)
            batch = driver.create_batch()
            for record in lot:
                if not _append(batch, record):
                    pending.append(await _send(driver, batch, full_name, partition))
                    batch = driver.create_batch()
                    _append(batch, record)
            pending.append(await _send(driver, batch, full_name, partition))

    async def _partitions(self, driver: AIOKafkaProducer, topic: str) -> int:
        full_name = self._names.full(topic)
        if topic not in self._known:
            # Asking for one topic by name would make it, where the brokers allow that.
            metadata = await driver.client.fetch_all_metadata()
            if full_name not in metadata.topics():
                raise Unavailable(DEPENDENCY, missing_message([full_name]))
            self._known.add(topic)
        return len(await driver.partitions_for(full_name))

    async def _replace_if_broken(
        self, driver: AIOKafkaProducer, pending: Sequence[asyncio.Future[object]]
    ) -> None:
        """Drop a driver after an error: it retries by itself whatever it can, so the rest is for good."""
        failed = any(future.done() and future.exception() is not None for future in pending)
        if failed and self._driver is driver:
            self._driver = None
            self._known.clear()
            await _stop(driver, self._overdue)
            self._overdue.clear()

    def _raise_for(self, error: BaseException | None) -> None:
        if isinstance(error, _TOO_LARGE):
            raise RecordTooLarge(f"the brokers take no batch of this size: {one_line(error)}") from error
        if isinstance(error, DRIVER_ERRORS):
            raise Unavailable(DEPENDENCY, f"append: {one_line(error)}") from error
        if error is not None:
            raise error


def _append(batch: object, record: NewRecord) -> bool:
    """Add a record to aiokafka's batch; return False when it is full."""
    metadata = batch.append(  # type: ignore[attr-defined]
        timestamp=None, key=record.key.encode(), value=record.value, headers=list(record.headers)
    )
    return metadata is not None


async def _send(
    driver: AIOKafkaProducer, batch: object, topic: str, partition: int
) -> asyncio.Future[object]:
    future: asyncio.Future[object] = await driver.send_batch(batch, topic, partition=partition)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


async def _stop(driver: AIOKafkaProducer, unanswered: set[asyncio.Future[object]]) -> None:
    """Stop a driver, after a last chance for records without an answer: alone it would wait for ever."""
    if unanswered:
        _, late = await asyncio.wait(unanswered, timeout=LAST_CHANCE_S)
        if late:
            log.warning("kafka_batches_unanswered", batches=len(late))
            await _give_up(driver)
    await stop(driver)


async def _give_up(driver: AIOKafkaProducer) -> None:
    """Make aiokafka drop the batches that it would send again for ever; it has no public way for that."""
    sender = driver._sender.sender_task
    if sender is not None and not sender.done():
        sender.cancel()
        await asyncio.wait((sender,), timeout=STOP_TIMEOUT_S)
    driver._message_accumulator._batches.clear()
    driver._message_accumulator._pending_batches = _GivenUp()


class _GivenUp(set[object]):
    """The batches under way, none: one whose request fails later is taken out all the same."""

    def remove(self, element: object) -> None:
        self.discard(element)
