"""Appends to Kafka behind a fence: each send is a transaction, seen whole or never.

Whoever opens a producer with the same transactional id makes the brokers refuse all earlier ones, and
abort or finish what those had begun, before the opening returns. A send that fails in any way but for
the size of a record leaves a producer that is of no more use: what is pending is aborted by its
closing, by the next opening, or by the brokers after TRANSACTION_TIMEOUT_MS.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Fenced, NewRecord, RecordTooLarge
from backbone.eventlog.kafka.connection import FAILOVER_TIMEOUT_S, STOP_TIMEOUT_S, Cluster, answering, stop
from backbone.eventlog.kafka.records import Names
from backbone.eventlog.kafka.transactions import TransactionClient
from backbone.eventlog.topic_state import missing_message
from schemas.topics import partition_of

# An abandoned transaction keeps committed readers from what lies behind it for so long.
TRANSACTION_TIMEOUT_MS = 10_000
# Less than that: the brokers would take a late end of the transaction for that of a fenced producer.
SEND_TIMEOUT_S = 8.0
BATCH_BYTES = 128 * 1024

_CODECS = {
    "none": DefaultRecordBatch.CODEC_NONE,
    "gzip": DefaultRecordBatch.CODEC_GZIP,
    "lz4": DefaultRecordBatch.CODEC_LZ4,
    "zstd": DefaultRecordBatch.CODEC_ZSTD,
}
_SEQUENCE_MASK = 2**31 - 1


class FencedProducer:
    """See Producer; sends one after the other, however many ask at once."""

    def __init__(
        self,
        cluster: Cluster,
        names: Names,
        compression: str,
        fence: str,
        on_close: Callable[["FencedProducer"], None],
    ) -> None:
        self._cluster = cluster
        self._names = names
        self._codec = _CODECS[compression]
        self._on_close = on_close
        self._client = TransactionClient(cluster, names.full(fence), TRANSACTION_TIMEOUT_MS)
        self._sending = asyncio.Lock()
        self._refusal: Unavailable | None = None
        self._in_transaction = False
        self._known: set[str] = set()
        self._sequences: dict[KafkaPartition, int] = {}

    async def open(self) -> None:
        """Connect and take the fence. Raises Unavailable."""
        await self._cluster.start(self._client)
        taken = False
        try:
            async with answering("take the fence", FAILOVER_TIMEOUT_S):
                await self._client.take_fence()
            taken = True
        finally:
            if not taken:
                await stop(self._client)

    async def send(self, records: Sequence[NewRecord]) -> None:
        """See Producer."""
        if not records:
            return
        RecordTooLarge.check(records)
        async with self._sending:
            if self._refusal is not None:
                raise self._refusal
            self._refusal = Unavailable(DEPENDENCY, "this producer failed before: another must be opened")
            try:
                async with answering("append", SEND_TIMEOUT_S):
                    too_large = await self._send(records)
            except Fenced as fenced:
                self._refusal = fenced
                raise
            self._refusal = None
        if too_large:
            raise RecordTooLarge(f"the brokers take no batch of this size: {too_large}")

    async def close(self) -> None:
        """See Producer; a transaction that was left open is aborted, where the brokers answer."""
        self._on_close(self)
        self._refusal = Unavailable(DEPENDENCY, "this producer was closed")
        try:
            if self._in_transaction:
                self._in_transaction = False
                async with answering("abort", STOP_TIMEOUT_S):
                    await self._client.end(commit=False)
        except Unavailable:
            pass  # the next one that takes the fence aborts it, or the brokers do in a while
        finally:
            await stop(self._client)

    async def _send(self, records: Sequence[NewRecord]) -> str | None:
        """Send in one transaction; return why it was aborted when that was for the size of a record."""
        lots = await self._lots(records)
        self._in_transaction = True
        await self._client.add_partitions(list(lots))
        too_large = None
        while lots and too_large is None:
            # A request takes one batch of each partition: a long lot goes in several.
            batches = {place: self._packed(place, lot) for place, lot in lots.items()}
            too_large = await self._append(batches)
            lots = {place: lot for place, lot in lots.items() if lot}
        await self._client.end(commit=too_large is None)
        self._in_transaction = False
        return too_large

    async def _append(self, batches: Mapping[KafkaPartition, tuple[bytes, int]]) -> str | None:
        appended, too_large = await self._client.append({place: data for place, (data, _) in batches.items()})
        for place in appended:
            number = batches[place][1]
            self._sequences[place] = (self._sequences.get(place, 0) + number) & _SEQUENCE_MASK
        return too_large

    async def _lots(self, records: Sequence[NewRecord]) -> dict[KafkaPartition, deque[NewRecord]]:
        """Return the records by partition, each partition's in order."""
        numbers = {topic: await self._partitions(topic) for topic in {record.topic for record in records}}
        lots: dict[KafkaPartition, deque[NewRecord]] = defaultdict(deque)
        for record in records:
            partition = partition_of(record.ordering_key, numbers[record.topic])
            lots[KafkaPartition(self._names.full(record.topic), partition)].append(record)
        return lots

    def _packed(self, place: KafkaPartition, lot: deque[NewRecord]) -> tuple[bytes, int]:
        """Take as many records off the lot as a batch holds, one at least; return it and their number."""
        producer_id, epoch = self._client.identity
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=self._codec,
            is_transactional=1,
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=self._sequences.get(place, 0),
            batch_size=BATCH_BYTES,
        )
        number = 0
        while lot:
            record = lot[0]
            headers = list(record.headers)
            if builder.append(number, None, record.key.encode(), record.value, headers) is None:
                break
            lot.popleft()
            number += 1
        return bytes(builder.build()), number

    async def _partitions(self, topic: str) -> int:
        full_name = self._names.full(topic)
        if topic not in self._known:
            # Asking for one topic by name would make it, where the brokers allow that.
            if not await self._client.exists(full_name):
                raise Unavailable(DEPENDENCY, missing_message([full_name]))
            self._known.add(topic)
        return await self._client.partitions(full_name)
