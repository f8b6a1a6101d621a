"""aiokafka's client, made to reach a cluster of which one broker is dead or frozen.

A frozen broker takes connections and requests and answers none; aiokafka would wait for it as long as
for a request that takes its time. Here whatever any broker can answer is asked of the next one soon, a
connection that does not come about is given up within seconds and holds up no other, and once the other
brokers take a silent one for dead its connections are closed: what waited for it goes to its successors.
"""

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

# Whoever answers at all has done so by then, as a rule.
NEXT_AFTER_S = 0.5
CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0
LOOK_EVERY_S = 1.0
REMEMBERED_S = 30.0

# What aiokafka's connections raise; RuntimeError comes from uvloop, when one was just closed.
_FAILURES = (KafkaError, OSError, RuntimeError)

T = TypeVar("T")
Place = tuple[object, ConnectionGroup]
"""A broker's id, and what the connection is for."""
Unheard = dict[tuple[str, int], float]
"""The servers that did not answer when they were asked last, with the moment of that."""

# aiokafka's own logger: what is said there reaches people as what aiokafka says does.
_log = logging.getLogger("aiokafka")


class SteadyClient(AIOKafkaClient):  # type: ignore[misc]
    """See the module; `_conns` and the like are aiokafka's."""

    _sync_task: asyncio.Task[None] | None
    _watching: asyncio.Task[None] | None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._prepare()

    @classmethod
    def adopt(cls, client: AIOKafkaClient, unheard: Unheard) -> None:
        """Make one of these of a client not yet started, such as aiokafka's consumers and producers have.

        What `unheard` holds is asked last; clients of one cluster share it.
        """
        if not isinstance(client, cls):
            client.__class__ = cls
            client._prepare()
        client._unheard = unheard

    async def bootstrap(self) -> None:
        """Take the cluster's metadata from the first server that answers. Raises KafkaConnectionError."""
        since_s = time.monotonic() - REMEMBERED_S
        servers = [(host, port) for host, port, _ in self.hosts]
        servers.sort(key=lambda server: self._unheard.get(server, since_s) > since_s)
        answer = await _first_answer(partial(self._described_by, *server) for server in servers)
        if answer is None:
            raise KafkaConnectionError(f"Unable to bootstrap from {self.hosts}")
        self.cluster.update_metadata(answer)
        # Those that are asked next may be others: one of them has to answer, too.
        await self.ask_any(MetadataRequest([]))
        if self._sync_task is None:
            self._sync_task = asyncio.create_task(self._md_synchronizer())
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait((watching,))
        await super().close()

    async def ask_any(self, request: object) -> Any:
        """Return the answer of the broker that gives one first. Raises KafkaConnectionError."""
        nodes = [broker.nodeId for broker in self.cluster.brokers()]
        random.shuffle(nodes)
        nodes.sort(key=self._silent.__contains__)
        answer = await _first_answer(partial(self._answered_by, node, request) for node in nodes)
        if answer is None:
            raise KafkaConnectionError(f"Unable to get an answer from any of the brokers {sorted(nodes)}")
        return answer

    def get_random_node(self) -> Any:
        """Return the broker that last answered what any of them could; aiokafka says so to a random one."""
        if self.cluster.broker_metadata(self._answering) is None:
            return super().get_random_node()
        return self._answering

    def _prepare(self) -> None:
        self._watching = None
        self._answering: object = None
        self._unheard: Unheard = {}
        self._silent: set[object] = set()
        self._connecting: dict[Place, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failed_s: dict[Place, float] = {}

    async def _described_by(self, host: str, port: int) -> Any:
        """Return the metadata that a server gives, None if it gives none."""
        # Whoever is asked after it and answers first ends this.
        self._unheard[host, port] = time.monotonic()
        try:
            connection = await self._connected(host, port)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer = await connection.send(MetadataRequest([]))
            finally:
                connection.close()
        except _FAILURES as error:
            _log.error('Unable to connect to "%s:%s": %s', host, port, _text(error))
            return None
        self._unheard.pop((host, port), None)
        # A cluster that is just starting may know no broker yet.
        return answer if answer.brokers else None

    async def _answered_by(self, node: object, request: object) -> Any:
        """Return what a broker answers, None if it does not."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                connection = await self._get_conn(node)
                if connection is None:
                    return None
                answer = await connection.send(request)
        except _FAILURES as error:
            _log.warning("Unable to get an answer from node with id %s: %s", node, _text(error))
            return None
        self._answering = node
        return answer

    async def _metadata_update(self, cluster_metadata: Any, topics: Iterable[str]) -> bool:
        """Do what aiokafka does here, one broker shortly after the other instead of in turn."""
        try:
            answer = await self.ask_any(MetadataRequest(list(topics) if topics else None))
        except KafkaConnectionError:
            _log.error("Unable to update the metadata: none of the brokers answers")
            cluster_metadata.failed_update(None)
            return False
        if answer.brokers:
            cluster_metadata.update_metadata(answer)
        return bool(answer.brokers)

    async def _get_conn(
        self, node_id: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> AIOKafkaConnection | None:
        """Do what aiokafka does here, but let no broker wait for another, and no two for one in turn."""
        place, began_s = (node_id, group), time.monotonic()
        async with self._connecting[place]:
            connection = self._conns.get(place)
            if connection is not None and connection.connected():
                return connection
            self._conns.pop(place, None)
            if self._failed_s.get(place, 0.0) > began_s:
                return None
            try:
                broker = self.cluster.broker_metadata(node_id)
                if broker is None:
                    raise KafkaConnectionError("it is not in the metadata")
                connection = await self._connected(broker.host, broker.port, self._on_connection_closed)
            except _FAILURES as error:
                _log.error("Unable connect to node with id %s: %s", node_id, _text(error))
                self._failed_s[place] = time.monotonic()
                self.force_metadata_update()
                return None
            self._conns[place] = connection
            return connection

    async def _connected(
        self, host: str, port: int, on_close: Callable[..., None] | None = None
    ) -> AIOKafkaConnection:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await create_conn(
                host,
                port,
                on_close=on_close,
                client_id=self._client_id,
                request_timeout_ms=self._request_timeout_ms,
                ssl_context=self._ssl_context,
                security_protocol=self._security_protocol,
                max_idle_ms=self._connections_max_idle_ms,
                sasl_mechanism=self._sasl_mechanism,
                sasl_plain_username=self._sasl_plain_username,
                sasl_plain_password=self._sasl_plain_password,
                sasl_kerberos_service_name=self._sasl_kerberos_service_name,
                sasl_kerberos_domain_name=self._sasl_kerberos_domain_name,
                sasl_oauth_token_provider=self._sasl_oauth_token_provider,
            )

    async def _watch(self) -> None:
        """Close the connections to brokers that owe an answer and that the others take for dead.

        Only then: an answer that takes its time, such as that to joining a group, is waited for.
        """
        owed: dict[Place, object] = {}
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            before = owed
            owed = {place: each._requests[0] for place, each in self._conns.items() if each._requests}
            silent = [place for place, request in owed.items() if before.get(place) is request]
            self._silent = {node for node, _ in silent}
            if not silent:
                continue
            await self.force_metadata_update()
            living = {broker.nodeId for broker in self.cluster.brokers()}
            for place in silent:
                if place[0] not in living and place in self._conns:
                    _log.warning("Node with id %s is silent and left the cluster", place[0])
                    self._conns[place].close(reason=CloseReason.CONNECTION_BROKEN)


async def _first_answer(attempts: Iterable[Callable[[], Awaitable[T | None]]]) -> T | None:
    """Begin an attempt when those before it failed, or took long; return what is not None first.

    The others are cancelled, and have ended when it returns.
    """
    tasks: list[asyncio.Task[T | None]] = []
    try:
        for attempt in attempts:
            tasks.append(asyncio.ensure_future(attempt()))
            answer = await _answer_of(tasks, NEXT_AFTER_S)
            if answer is not None:
                return answer
        return await _answer_of(tasks, None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer_of(tasks: Iterable[asyncio.Task[T | None]], within_s: float | None) -> T | None:
    pending = {task for task in tasks if not task.done()}
    while pending:
        done, pending = await asyncio.wait(pending, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            answer = task.result()
            if answer is not None:
                return answer
        if not done:
            break
    return None


def _text(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error)
