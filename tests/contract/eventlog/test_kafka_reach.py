"""Clients reach a Kafka of which some servers are dead or frozen, and give a frozen broker up in time."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import BrokerMetadata

from backbone.eventlog import EventLog
from backbone.eventlog.kafka import KafkaEventLog
from backbone.eventlog.kafka.client import CONNECT_TIMEOUT_S, LOOK_EVERY_S, SteadyClient
from backbone.eventlog.kafka.connection import Cluster
from backbone.settings import KafkaSecurity, Settings
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE
from tests.support.eventlog import after, append, log_site, poll_until, read_all, record, texts
from tests.support.link import Link

CREATED = MESSAGES_CREATED
# No broker of the server has this number.
STRANGER = 99
SOON_S = 1.5


async def send_fenced(log: EventLog) -> None:
    await (await log.producer("f")).send([record(CREATED, "k", "fenced")])


async def consume(log: EventLog) -> None:
    member = await log.consumer("g", [CREATED])
    await member.commit(after(await poll_until(member, 1)))


async def read(log: EventLog) -> None:
    assert texts(await read_all(log, CREATED)) == ["there"]


CLIENTS: dict[str, Callable[[EventLog], Awaitable[object]]] = {
    "producer": lambda log: append(log, [record(CREATED, "k", "sent")]),
    "fenced producer": send_fenced,
    "consumer": consume,
    "reader": read,
    "topics": lambda log: log.topics(sizes=True),
    "committed": lambda log: log.committed("g", [CREATED]),
    "members": lambda log: log.members("g"),
    "apply_topics": lambda log: log.apply_topics([CREATED, MESSAGES_STATE], 1),
}


@pytest.fixture
def servers(real_settings: Settings) -> str:
    return real_settings.eventlog_url.removeprefix("kafka://")


@pytest.fixture
def port(servers: str) -> int:
    return int(servers.split(",", maxsplit=1)[0].rpartition(":")[2])


@pytest.fixture
async def link(port: int) -> AsyncIterator[Link]:
    """A way to the broker that can be frozen: then it takes connections and answers nothing."""
    async with Link.to(port) as link:
        yield link


@pytest.fixture
async def client(servers: str) -> AsyncIterator[SteadyClient]:
    client = SteadyClient(**Cluster(servers, KafkaSecurity()).options)
    await client.bootstrap()
    yield client
    await client.close()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


@pytest.fixture(autouse=True)
def in_the_order_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are asked in the order in which they are named, not in a random one."""
    monkeypatch.setattr("random.shuffle", lambda _: None)


@pytest.mark.parametrize("kind", CLIENTS)
async def test_servers_that_do_not_answer_are_passed_over(
    real_settings: Settings,
    servers: str,
    link: Link,
    closed_port: int,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A frozen server and a dead one, named before one that lives, keep no client; nothing is left open."""
    link.swallow()
    addresses = f"127.0.0.1:{link.port},127.0.0.1:{closed_port},{servers}"
    async with log_site(real_settings) as site:
        await site.open().apply_topics([CREATED], 1)
        await append(site.open(), [record(CREATED, "k", "there")])
        log = KafkaEventLog(addresses, real_settings.topic_prefix, "none", KafkaSecurity())
        async with asyncio.timeout(8):
            await CLIENTS[kind](log)
        await log.close()
    del log
    gc.collect()
    assert not [entry.getMessage() for entry in caplog.records if entry.name == "asyncio"]


async def test_a_server_that_did_not_answer_is_asked_last_for_a_while(
    real_settings: Settings, servers: str, link: Link
) -> None:
    """Only the first question of a log waits for a frozen server, not each that follows."""
    link.swallow()
    log = KafkaEventLog(
        f"127.0.0.1:{link.port},{servers}", real_settings.topic_prefix, "none", KafkaSecurity()
    )
    await log.topics()
    assert len(link._connections) == 1
    await log.topics()
    await (await log.producer()).close()
    assert len(link._connections) == 1


async def test_what_any_broker_can_answer_is_asked_of_the_next(client: SteadyClient, link: Link) -> None:
    """A frozen broker keeps neither metadata nor the search for a coordinator from being answered."""
    link.swallow()
    (living,) = [broker.nodeId for broker in client.cluster.brokers()]
    _introduce(client, link, first=True)
    async with asyncio.timeout(SOON_S):
        assert (await client.ask_any(MetadataRequest([]))).brokers
        assert client.get_random_node() == living
        assert await client.coordinator_lookup(CoordinationType.GROUP, "g") == living
    _introduce(client, link, first=True)
    async with asyncio.timeout(SOON_S):
        assert await client.force_metadata_update()


async def test_a_frozen_broker_holds_up_no_other_and_is_given_up(client: SteadyClient, link: Link) -> None:
    """Connections to others are made meanwhile; all that wait for the frozen one hear of it together."""
    link.swallow()
    (living,) = [broker.nodeId for broker in client.cluster.brokers()]
    _introduce(client, link)
    waiting = [asyncio.create_task(client.send(STRANGER, MetadataRequest([]))) for _ in range(3)]
    await asyncio.sleep(0)
    async with asyncio.timeout(SOON_S):
        await client.send(living, MetadataRequest([]), group=ConnectionGroup.COORDINATION)
    assert not any(task.done() for task in waiting)
    async with asyncio.timeout(CONNECT_TIMEOUT_S + SOON_S):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(answer) for answer in answers} == {NodeNotReadyError}


async def test_what_waits_for_a_broker_that_left_the_cluster_is_told(
    client: SteadyClient, link: Link
) -> None:
    """A broker that freezes with requests in hand is waited for until the others take it for dead."""
    _introduce(client, link)
    await client.send(STRANGER, MetadataRequest([]))
    link.swallow()
    async with asyncio.timeout(2 * LOOK_EVERY_S + SOON_S):
        with pytest.raises(KafkaConnectionError):
            await client.send(STRANGER, MetadataRequest([]))


def _introduce(client: SteadyClient, link: Link, *, first: bool = False) -> None:
    """Make the client believe, until it next hears of the brokers, that one stands behind the link."""
    stranger = {STRANGER: BrokerMetadata(STRANGER, "127.0.0.1", link.port, None)}
    brokers = client.cluster._brokers
    client.cluster._brokers = {**stranger, **brokers} if first else {**brokers, **stranger}
