"""Reads every partition of some topics of Kafka from the beginning, without a group."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Record, TopicPartition
from backbone.eventlog.kafka.connection import ANSWER_TIMEOUT_S, FAILOVER_TIMEOUT_S, Cluster, answering, stop
from backbone.eventlog.kafka.offsets import appended
from backbone.eventlog.kafka.records import Names

CHECK_INTERVAL_S = 5.0


class KafkaReader:
    """See Reader; committed transactions only, whose markers advance the positions without records."""

    def __init__(
        self,
        cluster: Cluster,
        names: Names,
        places: Sequence[KafkaPartition],
        on_close: Callable[["KafkaReader"], None],
    ) -> None:
        self._cluster = cluster
        self._on_close = on_close
        self._names = names
        self._places = list(places)
        self._driver = new_reading_driver(cluster)
        self._positions: dict[KafkaPartition, int] = {}
        self._checked_s = 0.0
        self._behind: dict[KafkaPartition, int] = {}

    async def open(self) -> None:
        """Connect and go to the beginning. Raises Unavailable."""
        await self._cluster.start(self._driver)
        opened = False
        try:
            self._driver.assign(self._places)
            async with answering("beginning offsets", FAILOVER_TIMEOUT_S):
                self._go_to(await self._driver.beginning_offsets(self._places))
            opened = True
        finally:
            if not opened:
                await stop(self._driver)

    async def end_offsets(self, undecided: bool = False) -> Mapping[TopicPartition, int]:
        """See Reader."""
        if undecided:
            async with answering("end offsets", FAILOVER_TIMEOUT_S):
                ends = await appended(self._driver._client, self._places)
        else:
            ends = await self._ends(FAILOVER_TIMEOUT_S)
        return {self._names.from_kafka(place): end for place, end in ends.items()}

    def positions(self) -> Mapping[TopicPartition, int]:
        """See Reader."""
        return {self._names.from_kafka(place): offset for place, offset in self._positions.items()}

    async def read(self, max_records: int, timeout_s: float) -> list[Record]:
        """See Reader."""
        if not self._places:
            return []
        async with answering("fetch", timeout_s + ANSWER_TIMEOUT_S):
            fetched = await self._driver.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
            self._positions = await self._positions_after(fetched)
        if not fetched:
            await self._check()
        return self._names.records(fetched)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader."""
        self._go_to({self._names.to_kafka(place): offset for place, offset in positions.items()})

    async def seek_to_end(self) -> None:
        """See Reader."""
        self._go_to(await self._ends(FAILOVER_TIMEOUT_S))

    async def close(self) -> None:
        """See Reader."""
        self._on_close(self)
        await stop(self._driver)

    async def _positions_after(self, fetched: Iterable[KafkaPartition]) -> dict[KafkaPartition, int]:
        try:
            return {place: await self._driver.position(place) for place in self._places}
        except BaseException:
            # What was fetched reaches nobody: the next read takes it again.
            self._go_to({place: self._positions[place] for place in fetched})
            raise

    async def _ends(self, within_s: float) -> Mapping[KafkaPartition, int]:
        async with answering("end offsets", within_s):
            ends: Mapping[KafkaPartition, int] = await self._driver.end_offsets(self._places)
        return ends

    def _go_to(self, offsets: Mapping[KafkaPartition, int]) -> None:
        for place, offset in offsets.items():
            self._driver.seek(place, offset)
            self._positions[place] = offset

    async def _check(self) -> None:
        """Find out now and then whether the silence is that of brokers that are gone, or of the driver.

        A driver's task that fetches can end for good, and tells nobody. Raises Unavailable.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s - self._checked_s < CHECK_INTERVAL_S:
            return
        ends = await self._ends(ANSWER_TIMEOUT_S)
        self._checked_s = now_s
        behind = {place: at for place, at in self._positions.items() if at < ends[place]}
        stands = behind and behind == self._behind
        self._behind = behind
        if stands:
            raise Unavailable(DEPENDENCY, "a reader stands still before records")


def new_reading_driver(cluster: Cluster) -> AIOKafkaConsumer:
    """Return a consumer of aiokafka that belongs to no group, not started yet."""
    return AIOKafkaConsumer(
        **cluster.options,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=200,
    )
