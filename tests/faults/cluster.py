"""Questions to the brokers, past our own adapters: who leads, which replicas are in sync, who reads what.

Each question opens a connection of its own; while the brokers do not answer, it is asked again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from backbone.settings import Settings
from tests.support.waiting import until

T = TypeVar("T")
ANSWER_WITHIN_S = 5.0
LONGER_THAN_A_TRANSACTION_S = 0.5


class Brokers:
    """The cluster; topics are named in full."""

    def __init__(self, settings: Settings) -> None:
        self._servers = settings.eventlog_url.removeprefix("kafka://")
        self._prefix = f"{settings.topic_prefix}."

    async def leader(self, topic: str, partition: int) -> int | None:
        """Return the broker that leads the partition, None while there is none."""
        leader = (await self._partitions())[f"{self._prefix}{topic}", partition]["leader"]
        return leader if leader > 0 else None

    async def in_sync(self) -> bool:
        """Say whether every replica of every partition is in sync, Kafka's own topics included."""
        partitions = (await self._partitions()).values()
        return all(len(each["isr"]) == len(each["replicas"]) and each["leader"] > 0 for each in partitions)

    async def members(self, group: str) -> list[frozenset[TopicPartition]]:
        """Return what each member of a group reads; nothing while the group is being rebalanced."""

        async def ask(admin: AIOKafkaAdminClient) -> list[frozenset[TopicPartition]]:
            (answer,) = await admin.describe_consumer_groups([group])
            ((_, _, state, _, _, members, *_),) = answer.groups
            if state != "Stable":
                return []
            return [frozenset(_assigned(member[4])) for member in members]

        return await self._asked(ask)

    async def stuck_transactions(self, topic: str, partitions: int) -> bool:
        """Say whether a transaction stays open in the topic: what is readable ends before what is written.

        Those of others come and go meanwhile, so that it must end at the same place twice.
        """
        places = [TopicPartition(f"{self._prefix}{topic}", number) for number in range(partitions)]
        before = await self._open_transactions(places)
        await asyncio.sleep(LONGER_THAN_A_TRANSACTION_S if before else 0)
        return bool(before.items() & (await self._open_transactions(places)).items()) if before else False

    async def _open_transactions(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where reading ends in each partition with an open transaction."""
        readable = await self._ends(places, "read_committed")
        written = await self._ends(places, "read_uncommitted")
        return {place: end for place, end in readable.items() if end < written[place]}

    async def _ends(self, places: Sequence[TopicPartition], isolation: str) -> Mapping[TopicPartition, int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, isolation_level=isolation)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await consumer.start()
            try:
                consumer.assign(places)
                ends: Mapping[TopicPartition, int] = await consumer.end_offsets(places)
            finally:
                await consumer.stop()
        return ends

    async def _partitions(self) -> dict[tuple[str, int], Any]:
        async def ask(admin: AIOKafkaAdminClient) -> dict[tuple[str, int], Any]:
            return {
                (topic["topic"], partition["partition"]): partition
                for topic in await admin.describe_topics()
                for partition in topic["partitions"]
            }

        return await self._asked(ask)

    async def _asked(self, ask: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
        async def attempt() -> tuple[T] | None:
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S), self._admin() as admin:
                    return (await ask(admin),)
            except (KafkaError, OSError, TimeoutError):
                return None

        answered = await until(attempt, within_s=30, every_s=0.2)
        assert answered is not None
        return answered[0]

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers, request_timeout_ms=3_000)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


def _assigned(encoded: bytes) -> list[TopicPartition]:
    if not encoded:
        return []
    places: list[TopicPartition] = ConsumerProtocolMemberAssignment.decode(encoded).partitions()
    return places
