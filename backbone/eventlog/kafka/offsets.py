"""The offsets of partitions and of consumer groups, asked of the brokers that know them."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import LeaderNotAvailableError
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest

from backbone.eventlog.kafka.admin import Admin, ClusterView, check_code, patiently

T = TypeVar("T")

NOBODY_KNOWS = -1

_NO_REPLICA = -1
_READ_UNCOMMITTED, _READ_COMMITTED = 0, 1
_LATEST, _EARLIEST = -1, -2
_GROUP_ID_NOT_FOUND = 69


class Bounds(NamedTuple):
    """The first and the next offset of each partition; NOBODY_KNOWS where it has no leader."""

    earliest: Mapping[KafkaPartition, int]
    end: Mapping[KafkaPartition, int]


async def bounds(admin: Admin, view: ClusterView) -> Bounds:
    """Return the offsets that readers of committed records meet. Raises the driver's errors."""
    places = {
        KafkaPartition(topic, place.number): place.leader
        for topic, partitions in view.topics.items()
        for place in partitions
    }
    by_leader: dict[int, list[KafkaPartition]] = defaultdict(list)
    for place, leader in places.items():
        if leader is not None:
            by_leader[leader].append(place)
    answers = await asyncio.gather(
        *(
            _offsets(admin, leader, led, moment)
            for moment in (_EARLIEST, _LATEST)
            for leader, led in by_leader.items()
        )
    )
    unknown = dict.fromkeys(places, NOBODY_KNOWS)
    earliest, end = dict(unknown), dict(unknown)
    for number, found in enumerate(answers):
        (earliest if number < len(by_leader) else end).update(found)
    return Bounds(earliest, end)


async def appended(client: AIOKafkaClient, places: Sequence[KafkaPartition]) -> Mapping[KafkaPartition, int]:
    """Return the offsets after all that was appended, transactions that are not decided included.

    Asks again while leaders move: whoever calls sets a time. Raises the driver's errors.
    """
    return await patiently(client, partial(_appended, client, places))


async def committed(
    admin: Admin, group: str, places: Sequence[KafkaPartition]
) -> Mapping[KafkaPartition, int]:
    """Return the committed offsets of a group, where it has one. Raises the driver's errors."""
    request = OffsetFetchRequest(group, _by_topic((place.topic, place.partition) for place in places))

    async def ask(coordinator: int) -> Mapping[KafkaPartition, int]:
        answer = await admin.ask(request, coordinator)
        check_code(getattr(answer, "error_code", 0), f"offsets of {group}")
        found = {}
        for topic, partitions in answer.topics:
            for number, offset, _metadata, code in partitions:
                check_code(code, f"offset of {group} in {topic}/{number}")
                if offset >= 0:
                    found[KafkaPartition(topic, number)] = offset
        return found

    return await admin.of_group(group, ask)


async def members(admin: Admin, group: str) -> int:
    """Return how many members a group has. Raises the driver's errors."""

    async def ask(coordinator: int) -> int:
        answer = await admin.ask(DescribeGroupsRequest([group]), coordinator)
        ((code, _group, _state, _type, _protocol, found, *_),) = answer.groups
        if code == _GROUP_ID_NOT_FOUND:
            return 0
        check_code(code, f"members of {group}")
        return len(found)

    return await admin.of_group(group, ask)


async def _appended(client: AIOKafkaClient, places: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
    by_leader: dict[int, list[KafkaPartition]] = defaultdict(list)
    for place in places:
        leader = client.cluster.leader_for_partition(place)
        if leader is None or leader < 0:
            raise LeaderNotAvailableError(f"{place.topic}/{place.partition}")
        by_leader[leader].append(place)
    found: dict[KafkaPartition, int] = {}
    for leader, led in by_leader.items():
        request = OffsetRequest(_NO_REPLICA, _READ_UNCOMMITTED, _asked(led, _LATEST))
        # On a connection of its own: a broker answers one after the other, and would wait with this one
        # until the fetch that lies before it has something to bring.
        found |= _told(await client.send(leader, request, group=ConnectionGroup.COORDINATION))
    return found


async def _offsets(
    admin: Admin, leader: int, places: Sequence[KafkaPartition], moment: int
) -> dict[KafkaPartition, int]:
    request = OffsetRequest(_NO_REPLICA, _READ_COMMITTED, _asked(places, moment))
    return _told(await admin.ask(request, leader))


def _asked(places: Iterable[KafkaPartition], moment: int) -> list[tuple[str, list[tuple[int, int]]]]:
    return _by_topic((place.topic, (place.partition, moment)) for place in places)


def _told(answer: Any) -> dict[KafkaPartition, int]:
    found = {}
    for topic, partitions in answer.topics:
        for number, code, _timestamp, offset in partitions:
            check_code(code, f"offsets of {topic}/{number}")
            found[KafkaPartition(topic, number)] = offset
    return found


def _by_topic(pairs: Iterable[tuple[str, T]]) -> list[tuple[str, list[T]]]:
    by_topic: dict[str, list[T]] = defaultdict(list)
    for topic, part in pairs:
        by_topic[topic].append(part)
    return list(by_topic.items())
