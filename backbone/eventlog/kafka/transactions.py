"""Kafka's transactions, request by request, over aiokafka's client.

aiokafka's own transactional producer tries again in the background without an end, and closing it can
wait for that; here nothing goes on behind the caller's back, and whoever sets a time-out ends the work.
What passes in milliseconds (a transaction whose markers are being written) is tried again until then;
everything else is raised as Fenced or Unavailable, and the client is of no more use.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import BrokerResponseError, KafkaConnectionError, NodeNotReadyError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Fenced
from backbone.eventlog.kafka.client import SteadyClient
from backbone.eventlog.kafka.connection import REQUEST_TIMEOUT_MS, Cluster

_ACKNOWLEDGED_BY_ALL = -1
_DONE = 0
# INVALID_PRODUCER_EPOCH, PRODUCER_FENCED
_FENCED = {47, 90}
_NO_COORDINATOR = 15
_NOT_COORDINATOR = 16
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, CONCURRENT_TRANSACTIONS
_PASSING = {14, _NO_COORDINATOR, 51}
_NO_LEADER = 5
# UNKNOWN_TOPIC_OR_PARTITION (just made), LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, REPLICA_NOT_AVAILABLE,
# NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND, KAFKA_STORAGE_ERROR
_PASSING_LEADER = {3, _NO_LEADER, 6, 9, 19, 20, 56}
# MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
_TOO_LARGE = {10, 18}
_FIRST_PAUSE_S = 0.002
# About what brokers take to write the markers of a decided transaction: to ask before is a request in vain.
_MARKERS_TAKE_S = 0.003
_LONGEST_PAUSE_S = 0.1


class Appended(NamedTuple):
    """The partitions that took their batch, and what the brokers said of one that was too large."""

    places: list[KafkaPartition]
    too_large: str | None


class TransactionClient:
    """One transactional id's connections; `identity` is the producer's id and epoch once it has the fence."""

    def __init__(self, cluster: Cluster, transactional_id: str, timeout_ms: int) -> None:
        self.client = SteadyClient(**cluster.options)
        self.identity = (-1, -1)
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self._coordinator: int | None = None

    async def start(self) -> None:
        await self.client.bootstrap()

    async def stop(self) -> None:
        await self.client.close()

    async def take_fence(self) -> None:
        """Make the brokers refuse all earlier producers, once what those had begun is ended."""

        async def ask() -> Iterable[int]:
            try:
                if self._coordinator is None:
                    self._coordinator = await self.client.coordinator_lookup(
                        CoordinationType.TRANSACTION, self._transactional_id
                    )
                answer = await self._ask(InitProducerIdRequest(self._transactional_id, self._timeout_ms))
            except BrokerResponseError as error:
                return [error.errno]
            except (KafkaConnectionError, NodeNotReadyError):
                # It died or froze: there will be another.
                self._coordinator = None
                return [_NO_COORDINATOR]
            if answer.error_code == _NOT_COORDINATOR:
                self._coordinator = None
                return [_NO_COORDINATOR]
            if answer.error_code == _DONE:
                self.identity = (answer.producer_id, answer.producer_epoch)
            return [answer.error_code]

        await _until_done("take the fence", ask)

    async def add_partitions(self, places: Sequence[KafkaPartition]) -> None:
        """Say which partitions the transaction writes to: that begins it."""
        by_topic: dict[str, list[int]] = defaultdict(list)
        for topic, partition in places:
            by_topic[topic].append(partition)
        request = AddPartitionsToTxnRequest(self._transactional_id, *self.identity, list(by_topic.items()))

        async def ask() -> Iterable[int]:
            answer = await self._ask(request)
            return [code for _, partitions in answer.errors for _, code in partitions]

        await _until_done("begin", ask)

    async def append(self, batches: Mapping[KafkaPartition, bytes]) -> Appended:
        """Append a batch to each partition; all answers are waited for.

        What a broker cannot take for now is sent once more, to whoever leads by then: its sequence number
        keeps it from being taken twice.
        """
        places: list[KafkaPartition] = []
        left, pause_s = dict(batches), _FIRST_PAUSE_S
        while left:
            codes = await self._produce_all(left)
            if errors := set(codes.values()) - {_DONE} - _PASSING_LEADER - _TOO_LARGE:
                raise _error("append", *errors)
            places += [place for place, code in codes.items() if code == _DONE]
            for place, code in codes.items():
                if code in _TOO_LARGE:
                    return Appended(places, f"{place.topic}: {_name(code)}")
            left = {place: data for place, data in left.items() if codes[place] != _DONE}
            if left:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                await self.client.force_metadata_update()
        return Appended(places, None)

    async def end(self, *, commit: bool) -> None:
        """Commit or abort the transaction; return when readers see it, or see past it.

        The first answer says that it is decided. Asked the same again, the coordinator says "concurrent"
        until the markers lie in all partitions: a reader that looked before would take the log for shorter.
        """
        request = EndTxnRequest(self._transactional_id, *self.identity, commit)

        async def ask() -> Iterable[int]:
            return [(await self._ask(request)).error_code]

        what = "commit" if commit else "abort"
        await _until_done(what, ask)
        await asyncio.sleep(_MARKERS_TAKE_S)
        await _until_done(what, ask)

    async def exists(self, topic: str) -> bool:
        return topic in (await self.client.fetch_all_metadata()).topics()

    async def partitions(self, topic: str) -> int:
        """Return how many partitions an existing topic has; follows it when that changes."""
        await self.client.add_topic(topic)
        found = self.client.cluster.partitions_for_topic(topic)
        if not found:
            raise Unavailable(DEPENDENCY, f"{topic} is not described yet")
        return len(found)

    async def _produce_all(self, batches: Mapping[KafkaPartition, bytes]) -> dict[KafkaPartition, int]:
        """Send to every leader at once; return what became of each batch."""
        codes: dict[KafkaPartition, int] = {}
        by_leader: dict[int, dict[KafkaPartition, bytes]] = defaultdict(dict)
        for place, data in batches.items():
            leader = self.client.cluster.leader_for_partition(place)
            if leader is None or leader < 0:
                codes[place] = _NO_LEADER
            else:
                by_leader[leader][place] = data
        answers = await asyncio.gather(
            *(self._produce(leader, lot) for leader, lot in by_leader.items()), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            codes |= answer
        return codes

    async def _produce(self, leader: int, lot: Mapping[KafkaPartition, bytes]) -> dict[KafkaPartition, int]:
        by_topic: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for (topic, partition), data in lot.items():
            by_topic[topic].append((partition, data))
        request = ProduceRequest(
            self._transactional_id, _ACKNOWLEDGED_BY_ALL, REQUEST_TIMEOUT_MS, list(by_topic.items())
        )
        answer = await self.client.send(leader, request)
        return {
            KafkaPartition(topic, partition): code
            for topic, partitions in answer.topics
            for partition, code, *_ in partitions
        }

    async def _ask(self, request: object) -> Any:
        return await self.client.send(self._coordinator, request, group=ConnectionGroup.COORDINATION)


async def _until_done(what: str, ask: Callable[[], Awaitable[Iterable[int]]]) -> None:
    """Ask until no code of the answer says that something must pass first."""
    pause_s = _FIRST_PAUSE_S
    while True:
        codes = set(await ask())
        if codes == {_DONE}:
            return
        if not codes & (_PASSING | _PASSING_LEADER):
            raise _error(what, *(codes - {_DONE}))
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _error(what: str, *codes: int) -> Unavailable:
    if _FENCED.intersection(codes):
        return Fenced()
    return Unavailable(DEPENDENCY, f"{what}: {', '.join(map(_name, codes))}")


def _name(code: int) -> str:
    return str(for_code(code).__name__)
