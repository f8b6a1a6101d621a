"""The event log on Kafka, through aiokafka.

Guarantees, beside those of the port: nothing waits for the brokers longer than some seconds before it
raises Unavailable, and a client that could not connect leaves nothing behind. Kafka compacts by itself.
"""

from collections.abc import Collection, Mapping, Sequence

from backbone.eventlog import TopicPartition, TopicState
from backbone.eventlog.kafka.connection import Cluster
from backbone.eventlog.kafka.consumer import KafkaConsumer
from backbone.eventlog.kafka.fenced import FencedProducer
from backbone.eventlog.kafka.producer import KafkaProducer
from backbone.eventlog.kafka.reader import KafkaReader
from backbone.eventlog.kafka.records import Names
from backbone.eventlog.kafka.topics import Administrator
from backbone.eventlog.topic_state import require
from backbone.settings import KafkaSecurity
from schemas.topics import Topic


class KafkaEventLog:
    """See EventLog; `bootstrap_servers` is `host:port`, several with commas between."""

    def __init__(
        self, bootstrap_servers: str, prefix: str, compression: str, security: KafkaSecurity
    ) -> None:
        self._cluster = Cluster(bootstrap_servers, security)
        self._names = Names(prefix)
        self._compression = compression
        self._administrator = Administrator(self._cluster, self._names)
        self._open: set[KafkaProducer | FencedProducer | KafkaConsumer | KafkaReader] = set()

    def full_name(self, topic: str) -> str:
        return self._names.full(topic)

    async def producer(self, fence: str | None = None) -> KafkaProducer | FencedProducer:
        """See EventLog; the fence is a transactional id, under the prefix."""
        producer: KafkaProducer | FencedProducer
        if fence is None:
            producer = KafkaProducer(self._cluster, self._names, self._compression, self._open.discard)
        else:
            producer = FencedProducer(
                self._cluster, self._names, self._compression, fence, self._open.discard
            )
        await producer.open()
        self._open.add(producer)
        return producer

    async def consumer(
        self, group: str, topics: Sequence[Topic], instance: str | None = None
    ) -> KafkaConsumer:
        """See EventLog."""
        require(await self._administrator.partitions(), topics, self.full_name)
        consumer = KafkaConsumer(
            self._cluster, self._names, group, [topic.name for topic in topics], instance, self._open.discard
        )
        await consumer.open()
        self._open.add(consumer)
        return consumer

    async def reader(self, topics: Sequence[Topic], partitions: Collection[int] | None = None) -> KafkaReader:
        """See EventLog."""
        places = [
            self._names.to_kafka(place)
            for place in await self._places(topics)
            if partitions is None or place.partition in partitions
        ]
        reader = KafkaReader(self._cluster, self._names, places, self._open.discard)
        await reader.open()
        self._open.add(reader)
        return reader

    async def committed(self, group: str, topics: Sequence[Topic]) -> Mapping[TopicPartition, int]:
        """See EventLog."""
        return await self._administrator.committed(group, await self._places(topics))

    async def members(self, group: str) -> int:
        """See EventLog."""
        return await self._administrator.members(group)

    async def topics(self, *, sizes: bool = False) -> Mapping[str, TopicState]:
        """See EventLog; records in transactions that are still open lie past the end."""
        return await self._administrator.states(sizes=sizes)

    async def apply_topics(
        self, topics: Sequence[Topic], partitions: int, *, dry_run: bool = False
    ) -> list[str]:
        """See EventLog; settings that the contract does not name stay as they are."""
        return await self._administrator.apply(topics, partitions, dry_run=dry_run)

    async def drop_topics(self) -> None:
        """See EventLog."""
        await self._administrator.drop()

    async def compact(self, topic: Topic) -> None:
        """See EventLog; Kafka does it in its own time."""

    async def close(self) -> None:
        """See EventLog."""
        for client in list(self._open):
            await client.close()

    async def _places(self, topics: Sequence[Topic]) -> list[TopicPartition]:
        existing = await self._administrator.partitions()
        require(existing, topics, self.full_name)
        return [
            TopicPartition(topic.name, number) for topic in topics for number in range(existing[topic.name])
        ]
