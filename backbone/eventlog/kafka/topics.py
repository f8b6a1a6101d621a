"""The topics of one prefix on Kafka: described, dropped, and what groups have read of them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.admin import DeleteTopicsRequest

from backbone.eventlog import Placement, TopicPartition, TopicState
from backbone.eventlog.kafka import offsets
from backbone.eventlog.kafka.admin import (
    LOOK_EVERY_S,
    Admin,
    ClusterView,
    PartitionView,
    admin_connection,
    check_change,
)
from backbone.eventlog.kafka.alteration import CHANGE_TIMEOUT_S, Alteration
from backbone.eventlog.kafka.connection import (
    ANSWER_TIMEOUT_S,
    FAILOVER_TIMEOUT_S,
    REQUEST_TIMEOUT_MS,
    Cluster,
    answering,
)
from backbone.eventlog.kafka.offsets import Bounds
from backbone.eventlog.kafka.records import Names
from backbone.eventlog.kafka.topic_settings import READ, keeping
from schemas.topics import Topic

Sizes = Mapping[tuple[str, int, int], int]


class Administrator:
    """Opens a connection for each question: they are rare."""

    def __init__(self, cluster: Cluster, names: Names) -> None:
        self._cluster = cluster
        self._names = names

    async def states(self, *, sizes: bool) -> dict[str, TopicState]:
        """Return the topics under the prefix, by bare name. Raises Unavailable."""

        async def described(admin: Admin) -> tuple[ClusterView, Bounds]:
            view = await admin.view(self._names.ours)
            return view, await offsets.bounds(admin, view)

        async with admin_connection(self._cluster) as admin, answering("describe topics", FAILOVER_TIMEOUT_S):
            view, bounds = await admin.patiently(lambda: described(admin))
            settings = await admin.settings(view.topics, READ)
            measured = await admin.sizes(view) if sizes else {}
        return {
            self._names.bare(name): self._state(name, places, settings.get(name), bounds, measured)
            for name, places in view.topics.items()
        }

    async def partitions(self) -> dict[str, int]:
        """Return how many partitions each topic under the prefix has, by bare name. Raises Unavailable."""
        async with admin_connection(self._cluster) as admin, answering("describe topics", ANSWER_TIMEOUT_S):
            view = await admin.view(self._names.ours)
        return {self._names.bare(name): len(places) for name, places in view.topics.items()}

    async def apply(self, topics: Sequence[Topic], partitions: int, *, dry_run: bool) -> list[str]:
        """Make and alter topics; return a line for each change. Raises Unavailable or SetupError."""
        wanted = {self._names.full(topic.name): topic for topic in topics}
        async with admin_connection(self._cluster) as admin:
            return await Alteration(admin, wanted, dry_run=dry_run).carry_out(partitions)

    async def drop(self) -> None:
        """Delete the topics under the prefix. Raises Unavailable or SetupError."""
        async with admin_connection(self._cluster) as admin, answering("delete topics", CHANGE_TIMEOUT_S):
            while names := list((await admin.view(self._names.ours)).topics):
                answer = await admin.ask_controller(DeleteTopicsRequest(names, REQUEST_TIMEOUT_MS))
                for name, code in answer.topic_error_codes:
                    if for_code(code) is not UnknownTopicOrPartitionError:
                        check_change(code, None, f"delete {name}")
                # The brokers tell each other of it in their own time.
                await asyncio.sleep(LOOK_EVERY_S)

    async def committed(self, group: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed offsets of a group, 0 where there is none. Raises Unavailable."""
        wanted = [self._names.to_kafka(place) for place in places]
        async with (
            admin_connection(self._cluster) as admin,
            answering("committed offsets", FAILOVER_TIMEOUT_S),
        ):
            found = await offsets.committed(admin, group, wanted)
        return {place: found.get(kafka, 0) for place, kafka in zip(places, wanted, strict=True)}

    async def members(self, group: str) -> int:
        """Return how many members a group has. Raises Unavailable."""
        async with admin_connection(self._cluster) as admin, answering("members", FAILOVER_TIMEOUT_S):
            return await offsets.members(admin, group)

    def _state(
        self,
        full_name: str,
        places: Collection[PartitionView],
        settings: Mapping[str, str] | None,
        bounds: Bounds,
        sizes: Sizes,
    ) -> TopicState:
        kept = keeping(settings)
        kafka = [KafkaPartition(full_name, place.number) for place in places]
        return TopicState(
            name=self._names.bare(full_name),
            partitions=len(places),
            cleanup=kept.cleanup,
            retention_ms=kept.retention_ms,
            replication=min((len(place.replicas) for place in places), default=0),
            earliest=tuple(bounds.earliest[place] for place in kafka),
            end=tuple(bounds.end[place] for place in kafka),
            tombstones_ms=kept.tombstones_ms,
            placements=tuple(
                Placement(
                    place.leader,
                    place.replicas,
                    place.in_sync,
                    None if place.leader is None else sizes.get((full_name, place.number, place.leader)),
                )
                for place in places
            ),
        )
