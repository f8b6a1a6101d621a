"""Making, describing and dropping the topics of one prefix, by Kafka's admin protocol."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from backbone.errors import SetupError
from backbone.eventlog import TopicPartition, TopicState
from backbone.eventlog.kafka.connection import ANSWER_TIMEOUT_S, Cluster, answering, stop
from backbone.eventlog.kafka.reader import new_reading_driver
from backbone.eventlog.kafka.records import Names
from backbone.eventlog.topic_state import made
from schemas.topics import REPLAY_HORIZON_MS, Topic

_CHANGE_TIMEOUT_S = 20.0
_LOOK_EVERY_S = 0.05
_SETTINGS = ("cleanup.policy", "retention.ms", "delete.retention.ms")


class Administrator:
    """Opens an admin connection for each question: they are rare."""

    def __init__(self, cluster: Cluster, names: Names) -> None:
        self._cluster = cluster
        self._names = names

    async def states(self) -> dict[str, TopicState]:
        """Return the topics under the prefix, by bare name. Raises Unavailable."""
        async with self._admin() as admin, answering("describe topics", ANSWER_TIMEOUT_S):
            described = {
                topic["topic"]: topic
                for topic in await admin.describe_topics()
                if self._names.ours(topic["topic"]) and not topic["error_code"]
            }
            settings = await _settings(admin, list(described))
        places = [
            KafkaPartition(name, number) for name, topic in described.items() for number in _numbers(topic)
        ]
        earliest, end = await self._bounds(places)
        return {
            self._names.bare(name): self._state(topic, settings.get(name, {}), earliest, end)
            for name, topic in sorted(described.items())
        }

    async def make(self, topics: Sequence[Topic], partitions: int) -> list[str]:
        """Make topics that do not exist; return a line for each. Raises Unavailable or SetupError."""
        if not topics:
            return []
        async with self._admin() as admin, answering("create topics", _CHANGE_TIMEOUT_S):
            brokers = len((await admin.describe_cluster())["brokers"])
            replication = 3 if brokers >= 3 else 1
            wanted = [self._new_topic(topic, partitions, replication) for topic in topics]
            response = await admin.create_topics(wanted)
            refused = set()
            for name, code, message in response.topic_errors:
                error = for_code(code)
                if error is TopicAlreadyExistsError:
                    refused.add(self._names.bare(name))
                elif code:
                    raise SetupError(f"the brokers refuse to make {name}: {message or error.__name__}")
            await _until_led(admin, {topic.name for topic in wanted})
        return [made(topic, partitions, replication) for topic in topics if topic.name not in refused]

    async def drop(self) -> None:
        """Delete the topics under the prefix. Raises Unavailable or SetupError."""
        async with self._admin() as admin, answering("delete topics", _CHANGE_TIMEOUT_S):
            while names := [name for name in await admin.list_topics() if self._names.ours(name)]:
                response = await admin.delete_topics(names)
                for name, code in response.topic_error_codes:
                    error = for_code(code)
                    if code and error is not UnknownTopicOrPartitionError:
                        raise SetupError(f"the brokers refuse to delete {name}: {error.__name__}")
                # The brokers tell each other of it in their own time.
                await asyncio.sleep(_LOOK_EVERY_S)

    async def committed(self, group: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed offsets of a group, 0 where there is none. Raises Unavailable."""
        async with self._admin() as admin, answering("committed offsets", ANSWER_TIMEOUT_S):
            wanted = [self._names.to_kafka(place) for place in places]
            found = await admin.list_consumer_group_offsets(group, partitions=wanted)
        return {
            place: max(0, found[kafka].offset) if kafka in found else 0
            for place, kafka in zip(places, wanted, strict=True)
        }

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        client = _Admin(AIOKafkaAdminClient(**self._cluster.options))
        await self._cluster.start(client)
        try:
            yield client.driver
        finally:
            await stop(client)

    async def _bounds(
        self, places: Sequence[KafkaPartition]
    ) -> tuple[Mapping[KafkaPartition, int], Mapping[KafkaPartition, int]]:
        driver = new_reading_driver(self._cluster)
        await self._cluster.start(driver)
        try:
            async with answering("offsets", ANSWER_TIMEOUT_S):
                # Assigned topics are made known in one request; otherwise each one costs a pause of its own.
                driver.assign(places)
                return await driver.beginning_offsets(places), await driver.end_offsets(places)
        finally:
            await stop(driver)

    def _new_topic(self, topic: Topic, partitions: int, replication: int) -> NewTopic:
        if topic.cleanup == "compact":
            settings = {"cleanup.policy": "compact", "delete.retention.ms": str(REPLAY_HORIZON_MS)}
        else:
            retention_ms = -1 if topic.retention_ms is None else topic.retention_ms
            settings = {"cleanup.policy": "delete", "retention.ms": str(retention_ms)}
        if replication >= 3:
            settings["min.insync.replicas"] = "2"
        return NewTopic(self._names.full(topic.name), partitions, replication, topic_configs=settings)

    def _state(
        self,
        topic: Mapping[str, Any],
        settings: Mapping[str, str],
        earliest: Mapping[KafkaPartition, int],
        end: Mapping[KafkaPartition, int],
    ) -> TopicState:
        name = topic["topic"]
        places = [KafkaPartition(name, number) for number in _numbers(topic)]
        cleanup, retention_ms = _cleanup(settings)
        return TopicState(
            name=self._names.bare(name),
            partitions=len(places),
            cleanup=cleanup,
            retention_ms=retention_ms,
            replication=min((len(partition["replicas"]) for partition in topic["partitions"]), default=0),
            earliest=tuple(earliest[place] for place in places),
            end=tuple(end[place] for place in places),
            tombstones_ms=int(settings.get("delete.retention.ms", "0")) if cleanup == "compact" else None,
        )


class _Admin:
    """Gives aiokafka's admin client the `stop` that its other clients have."""

    def __init__(self, driver: AIOKafkaAdminClient) -> None:
        self.driver = driver

    async def start(self) -> None:
        await self.driver.start()

    async def stop(self) -> None:
        await self.driver.close()


async def _settings(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(_SETTINGS, "")) for name in names]
    (response,) = await admin.describe_configs(asked)
    return {
        name: {setting: value for setting, value, *_ in entries}
        for _code, _message, _type, name, entries in response.resources
    }


def _cleanup(settings: Mapping[str, str]) -> tuple[str, int | None]:
    """Return Kafka's settings in our words; a mixed policy keeps Kafka's."""
    policy = settings.get("cleanup.policy", "delete")
    retention_ms = int(settings.get("retention.ms", "-1"))
    if policy == "delete":
        return ("keep", None) if retention_ms < 0 else ("expire", retention_ms)
    return policy, None


def _numbers(topic: Mapping[str, Any]) -> list[int]:
    return sorted(partition["partition"] for partition in topic["partitions"])


async def _until_led(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Return when every partition of new topics has a leader: before that the first sends would stumble."""
    while True:
        led = {
            topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"])
            for topic in await admin.describe_topics()
        }
        if all(led.get(name, 0) > 0 for name in names):
            return
        await asyncio.sleep(_LOOK_EVERY_S)
