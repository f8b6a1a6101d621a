"""Hundreds of clients that are cut off at random while notifiers die: each gets everything once, in order."""

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError
from sqlalchemy import select

from backbone.database.tables import inbox, inbox_counters
from schemas.topics import GROUP_NOTIFIER, NOTIFICATIONS_SENT, STREAM_TOPICS, USERS_CHANGED
from tests.faults import oracle
from tests.faults.arena import ROUNDS, SETTLED_WITHIN_S, Arena, apart
from tests.faults.crowd import Client, caught_up, crowd_of
from tests.faults.hidden import OWNER, HiddenChannel, hidden_channel
from tests.faults.load import AUTHORS, CHANNELS, LISTENERS, Load
from tests.system import stores as compare
from tests.system.fold import Fold, fold_of_log

SEED = os.environ.get("MAEARI_FAULT_SEED") or str(random.randrange(1_000_000))
USERS = (*AUTHORS, *LISTENERS)
CLIENTS = 240
SUBSCRIBED_EVERY = 4
# Longer than a member may be silent before its partitions are given to others.
FROZEN_S = 11.0
GUEST = LISTENERS[0]


# Clients and platform share the machine: what the harm takes is not the half of it.
@pytest.mark.timeout(180 * ROUNDS, func_only=True)
async def test_clients_that_are_cut_off_miss_nothing(arena: Arena) -> None:
    """Cuts, kill -9, SIGTERM, rebalances: every inbox and every channel came 1 to N, and nothing leaked."""
    nodes = [notifier.sockets_url for notifier in arena.platform.notifiers]
    backend = arena.platform.backends[0].url
    name = f"cut-{random.Random(SEED).randrange(1_000_000)}"
    async with arena.under_load() as load, hidden_channel(name, GUEST, backend, load.ledger) as hidden:
        clients = crowd(nodes, hidden)
        async with crowd_of(clients) as scars:
            for _ in range(ROUNDS):
                await harm(arena, load)
    no_faults(clients)
    fold = await fold_of_log(arena.stores.eventlog)
    inboxes = await compare.check_inboxes(arena.stores.database, fold)
    lengths = {user_id: len(entries) for user_id, entries in inboxes.items()}
    await caught_up(clients, lengths, {each: len(events) for each, events in fold.channels.items()})
    no_faults(clients)
    for client in clients:
        assert client.entries == [
            (entry["seq"], entry["kind"], entry["notification_id"])
            for entry in inboxes.get(client.user_id, [])
        ], f"{client.user_id}, seed {SEED}"
        check_events(client, fold, hidden)
    told = sum(len(client.entries) + len(client.events) for client in clients)
    arena.note(seed=SEED, clients=str(len(clients)), ends=str(scars), told=str(told))


def no_faults(clients: Sequence[Client]) -> None:
    """No frame was any but the next one."""
    faults = [f"{client.user_id}: {fault}" for client in clients for fault in client.faults]
    assert faults == [], f"seed {SEED}"


def crowd(nodes: Sequence[str], hidden: HiddenChannel) -> list[Client]:
    """Return several clients of each user; every fourth follows a channel, too."""
    clients = []
    for number in range(CLIENTS):
        user_id = USERS[number % len(USERS)]
        channel_id = CHANNELS[number % len(CHANNELS)] if number % SUBSCRIBED_EVERY == 0 else None
        if user_id == GUEST:
            channel_id = hidden.channel_id
        clients.append(Client(user_id, channel_id, nodes, f"{SEED}/{number}"))
    return [*clients, Client(OWNER, hidden.channel_id, nodes, f"{SEED}/owner")]


async def harm(arena: Arena, load: Load) -> None:
    """Freeze a node until its partitions are gone, kill the two others meanwhile in turn, and end one."""
    first, second, third = arena.platform.notifiers
    third.signal(signal.SIGSTOP)
    frozen_s = monotonic()
    for victim in (first, second):
        victim.kill()
        await load.more_acknowledged(30)
        victim.start()
        await apart(victim.wait_ready)
    await asyncio.sleep(FROZEN_S - (monotonic() - frozen_s))
    third.signal(signal.SIGCONT)
    await load.more_acknowledged(30)
    assert await apart(first.end) == 0
    first.start()
    await apart(first.wait_ready)
    await load.more_acknowledged(30)


def check_events(client: Client, fold: Fold, hidden: HiddenChannel) -> None:
    """A client that follows a channel got all its events; a guest none while they were out."""
    if client.channel_id is None:
        return
    expected = [(event["sequence"], event["event_id"]) for event in fold.channels[client.channel_id]]
    assert [(event["sequence"], event["event_id"]) for event in client.events] == expected, f"seed {SEED}"
    if client.user_id == GUEST:
        assert len(hidden.absences) > 3
        assert hidden.leaked(client.events, client.arrived_s) == [], f"seed {SEED}"


async def test_a_replay_of_all_topics_changes_nothing(arena: Arena) -> None:
    """The group begins at the first offset again: no inbox changes, nothing is told, nobody hears of it."""
    async with arena.under_load() as load:
        await load.more_acknowledged(100)
    before = await state_of(arena)
    for notifier in arena.platform.notifiers:
        assert await apart(notifier.end) == 0
    await rewind(arena)
    committed = await arena.stores.eventlog.committed(GROUP_NOTIFIER, STREAM_TOPICS)
    assert set(committed.values()) == {0}
    began_s = monotonic()
    arena.platform.start()
    inboxes = await compare.check_inboxes(arena.stores.database, await fold_of_log(arena.stores.eventlog))
    clients = [
        Client(user_id, None, [arena.platform.notifiers[0].sockets_url], user_id) for user_id in inboxes
    ]
    await caught_up(clients, {user_id: len(entries) for user_id, entries in inboxes.items()}, {})
    await oracle.settled(arena.stores, SETTLED_WITHIN_S)
    assert await state_of(arena) == before
    await caught_up(clients, {}, {})
    no_faults(clients)
    for client in clients:
        assert len(client.entries) == len(inboxes[client.user_id])
    arena.note(replayed_s=monotonic() - began_s, inboxes=str(len(inboxes)))


async def state_of(arena: Arena) -> tuple[Any, ...]:
    """Return all inboxes, and where the topics end that tell of them."""
    async with arena.stores.database.reading() as connection:
        rows = [
            [tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key))]
            for table in (inbox, inbox_counters)
        ]
    states = await arena.stores.eventlog.topics()
    return (*rows, *(states[topic.name].end for topic in (NOTIFICATIONS_SENT, USERS_CHANGED)))


async def rewind(arena: Arena) -> None:
    """Set the group back to the first offsets, once its former members are forgotten."""
    eventlog, settings = arena.stores.eventlog, arena.platform.settings
    states = await eventlog.topics()
    places = [
        KafkaPartition(eventlog.full_name(topic.name), number)
        for topic in STREAM_TOPICS
        for number in range(states[topic.name].partitions)
    ]
    servers = settings.eventlog_url.removeprefix("kafka://")
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=GROUP_NOTIFIER, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)

        async def committed() -> bool:
            try:
                await consumer.commit(dict.fromkeys(places, 0))
            except KafkaError:
                return False
            return True

        await arena.holds(committed, 30)
    finally:
        await consumer.stop()
