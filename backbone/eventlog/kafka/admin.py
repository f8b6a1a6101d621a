"""One connection for questions to the brokers: the cluster's topics as they lie, their settings and sizes.

A question that any broker can answer goes to the next one when the first does not answer; what passes by
itself (an election, a coordinator that is loading) is asked again. Whoever sets a time-out ends that.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    for_code,
)
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import DEPENDENCY
from backbone.eventlog.kafka.client import SteadyClient
from backbone.eventlog.kafka.connection import Cluster, stop
from backbone.eventlog.kafka.requests import DescribeLogDirsRequest

T = TypeVar("T")

LOOK_EVERY_S = 0.05

_SIZES_WITHIN_S = 1.5
_OF_GROUPS = 0

_SILENT = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)


class PartitionView(NamedTuple):
    """A partition as the brokers tell it; replicas begin with the preferred leader."""

    number: int
    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class ClusterView(NamedTuple):
    """The brokers that live, with their racks, and topics by full name."""

    brokers: Mapping[int, str | None]
    topics: Mapping[str, tuple[PartitionView, ...]]


class Admin:
    """See the module; ended by `stop`, as aiokafka's clients are."""

    def __init__(self, cluster: Cluster) -> None:
        self.client = SteadyClient(**cluster.options)

    async def start(self) -> None:
        await self.client.bootstrap()

    async def stop(self) -> None:
        await self.client.close()

    async def ask(self, request: object, broker: int | None = None) -> Any:
        """Send a request to one broker, or to one shortly after the other until somebody answers."""
        try:
            if broker is None:
                return await self.client.ask_any(request)
            return await self.client.send(broker, request)
        except NotImplementedError as error:
            # Neither side knows a version of the request that the other does.
            raise Unavailable(DEPENDENCY, f"the brokers' version is not supported: {error}") from error

    async def ask_controller(self, request: object) -> Any:
        """Send a request to the broker that the others take for the controller."""
        controller = self.client.cluster.controller
        # A change is asked for once: any broker passes it on.
        return await self.ask(
            request, self.client.get_random_node() if controller is None else controller.nodeId
        )

    async def view(self, wanted: Callable[[str], bool], broker: int | None = None) -> ClusterView:
        """Return the brokers, and those topics whose full names are wanted, as one broker knows them."""
        answer = (await self.ask(MetadataRequest(None, False), broker)).to_object()
        return ClusterView(
            {found["node_id"]: found.get("rack") for found in answer["brokers"]},
            {
                topic["topic"]: _partitions(topic["partitions"])
                for topic in sorted(answer["topics"], key=lambda topic: str(topic["topic"]))
                if wanted(topic["topic"]) and not topic["error_code"]
            },
        )

    async def settings(
        self, topics: Collection[str], names: Sequence[str], broker: int | None = None
    ) -> dict[str, dict[str, str] | None]:
        """Return these settings of topics; None where the brokers do not tell."""
        if not topics:
            return {}
        asked = [(ConfigResourceType.TOPIC, topic, list(names)) for topic in topics]
        answer = await self.ask(DescribeConfigsRequest(asked), broker)
        return {
            topic: None if code else {setting: value for setting, value, *_ in entries}
            for code, _message, _type, topic, entries in answer.resources
        }

    async def sizes(self, view: ClusterView) -> dict[tuple[str, int, int], int]:
        """Return the bytes of each copy, by topic, partition and broker, as far as the brokers tell."""
        asked = {topic: [place.number for place in places] for topic, places in view.topics.items()}
        if not asked:
            return {}

        async def of_broker(broker: int) -> Iterable[tuple[tuple[str, int, int], int]]:
            try:
                async with asyncio.timeout(_SIZES_WITHIN_S):
                    answer = await self.ask(DescribeLogDirsRequest(asked), broker)
            except (*_SILENT, TimeoutError, Unavailable):
                return []
            return [
                ((topic, number, broker), size_bytes)
                for _code, _folder, topics in answer.results
                for topic, partitions in topics
                for number, size_bytes, _lag, is_future in partitions
                if not is_future
            ]

        answers = await asyncio.gather(*(of_broker(broker) for broker in view.brokers))
        return {copy: size_bytes for answer in answers for copy, size_bytes in answer}

    async def of_group(self, group: str, ask: Callable[[int], Awaitable[T]]) -> T:
        """Ask the group's coordinator, again while that is moving or loading."""

        async def asked() -> T:
            found = await self.ask(FindCoordinatorRequest(group, _OF_GROUPS))
            check_code(found.error_code, f"coordinator of {group}")
            return await ask(found.coordinator_id)

        return await self.patiently(asked)

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """See `patiently`."""
        return await patiently(self.client, ask)


@asynccontextmanager
async def admin_connection(cluster: Cluster) -> AsyncIterator[Admin]:
    """Open a connection for the block. Raises Unavailable."""
    admin = Admin(cluster)
    await cluster.start(admin)
    try:
        yield admin
    finally:
        await stop(admin)


async def patiently(client: AIOKafkaClient, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again as long as the brokers' refusals are of the passing kind: whoever calls sets a time."""
    while True:
        try:
            return await ask()
        except KafkaError as error:
            if not error.retriable:
                raise
        await asyncio.sleep(LOOK_EVERY_S)
        await client.force_metadata_update()


def check_code(code: int, what: str = "") -> None:
    """Raise the driver's error that a code stands for."""
    if code:
        raise for_code(code)(what)


def check_change(code: int, message: str | None, what: str) -> None:
    """Raise the driver's error for a refusal that may pass, and SetupError for one that people must mend."""
    if not code:
        return
    error = for_code(code)
    if error.retriable:
        raise error(what)
    raise SetupError(f"the brokers refuse to {what}: {' '.join((message or error.__name__).split())}")


def _partitions(answers: Iterable[Mapping[str, Any]]) -> tuple[PartitionView, ...]:
    return tuple(
        PartitionView(
            answer["partition"],
            answer["leader"] if answer["leader"] >= 0 else None,
            tuple(answer["replicas"]),
            tuple(answer["isr"]),
        )
        for answer in sorted(answers, key=lambda answer: int(answer["partition"]))
    )
