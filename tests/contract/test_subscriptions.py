"""Channels that sockets follow, on both databases: every event once, in order, as far as the right goes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backbone.clock import SystemClock
from backbone.health import Health
from backbone.http import bind
from backbone.settings import Settings
from backbone.wiring import open_eventlog
from notifier.feeds import Feeds
from notifier.hub import Hub
from notifier.service import serve
from notifier.wire import Limits
from schemas.frames import (
    ErrorFrame,
    EventFrame,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from schemas.topics import ALL_TOPICS
from tests.support.api import delete, edit, make_channel
from tests.support.backend import Backend, user
from tests.support.eventlog import dropped_topics
from tests.support.sockets import Client, Node, node


@pytest.fixture
async def server(backend: Backend) -> AsyncIterator[Node]:
    """A node on the backend's database."""
    async with node(backend.ports.database) as server:
        yield server


async def subscribed(client: Client, channel_id: str, after: int | None = None) -> int:
    """Subscribe; return the number after which events follow."""
    await client.say(Subscribe(channel_id=channel_id, after_sequence=after))
    frame = await client.frame()
    assert isinstance(frame, Subscribed), frame
    assert frame.channel_id == channel_id
    return frame.sequence


async def events(client: Client, count: int) -> list[Any]:
    """Return the next events; no other frame may come between."""
    frames = [await client.frame() for _ in range(count)]
    assert all(isinstance(frame, EventFrame) for frame in frames), frames
    return [frame.event for frame in frames if isinstance(frame, EventFrame)]


async def numbers(client: Client, count: int) -> list[int]:
    return [event.sequence for event in await events(client, count)]


async def test_every_event_comes_in_order(backend: Backend, server: Node) -> None:
    """Given a stream with posts, edits, a deletion and members, all of it comes, then what is new."""
    await make_channel(backend, "개발", "ann", "bora")
    first = await backend.post("개발", "ann", "하나")
    await edit(backend, first, content="하나!")
    gone = await backend.post("개발", "ann", "지워질 말")
    await delete(backend, gone, "ann")
    async with server.connected("bora") as client:
        await client.hello()
        assert await subscribed(client, "개발", 0) == 0
        stream = await events(client, 6)
        assert [event.sequence for event in stream] == list(range(1, 7))
        assert [event.__struct_config__.tag for event in stream] == [
            "channel.created",
            "channel.member_added",
            "message.created",
            "message.updated",
            "message.created",
            "message.deleted",
        ]
        assert stream[4].payload.content == "", "what a deletion took does not come back"
        for text in ("둘", "셋"):
            await backend.post("개발", "ann", text)
        await server.hint("개발")
        assert [event.payload.content for event in await events(client, 2)] == ["둘", "셋"]


async def test_without_a_number_only_what_is_new_comes(backend: Backend, server: Node) -> None:
    """It begins at the end of the channel, and so does a number beyond that."""
    for text in ("하나", "둘"):
        await backend.post("공개", "ann", text)
    async with server.connected("bora") as client:
        await client.hello()
        assert await subscribed(client, "공개") == 3
        assert await subscribed(client, "공개", 99) == 3
        await backend.post("공개", "ann", "셋")
        await server.hint("공개")
        assert await numbers(client, 1) == [4]
        assert await subscribed(client, "공개", 2) == 2
        assert await numbers(client, 2) == [3, 4], "once more begins anew"


async def test_many_pages_and_channels_take_turns(backend: Backend, server: Node) -> None:
    """Given two channels with more events than a page, each comes whole."""
    for channel_id in ("a", "b"):
        for number in range(70):
            await backend.post(channel_id, "ann", f"{number}")
    async with server.connected("bora") as client:
        await client.hello()
        for channel_id in ("a", "b"):
            await client.say(Subscribe(channel_id=channel_id, after_sequence=0))
        found: dict[str, list[int]] = {"a": [], "b": []}
        while sum(map(len, found.values())) < 142:
            frame = await client.frame()
            if isinstance(frame, EventFrame):
                found[frame.event.payload.channel_id].append(frame.event.sequence)
        assert found == {"a": list(range(1, 72)), "b": list(range(1, 72))}


async def test_a_private_channel_does_not_exist_for_those_outside(backend: Backend, server: Node) -> None:
    """It is refused as one that does not exist is; the socket goes on."""
    await make_channel(backend, "비밀", "ann", private=True)
    async with server.connected("bora") as client:
        await client.hello()
        for channel_id in ("비밀", "없음"):
            await client.say(Subscribe(channel_id=channel_id))
            assert await client.frame() == ErrorFrame(
                code="not_found", detail=f"{channel_id}: there is no such channel"
            )
        await backend.post("공개", "ann", "하나")
        assert await subscribed(client, "공개") == 2


async def test_it_ends_with_the_right(backend: Backend, server: Node) -> None:
    """Given a member who is put out, nothing of the channel follows, and a new subscribe is refused."""
    await make_channel(backend, "비밀", "ann", "bora", private=True)
    async with server.connected("bora") as client:
        await client.hello()
        assert await subscribed(client, "비밀") == 2
        await backend.post("비밀", "ann", "하나")
        await server.hint("비밀")
        assert await numbers(client, 1) == [3]
        out = await backend.client.delete("/channels/비밀/members/bora", headers=user("ann"))
        assert out.status_code == 204
        await backend.post("비밀", "ann", "우리끼리")
        await server.hint("비밀")
        assert await client.frame() == Unsubscribed(channel_id="비밀", reason="no_right")
        await client.say(Subscribe(channel_id="비밀"))
        refused = await client.frame()
        assert isinstance(refused, ErrorFrame)
        assert refused.code == "not_found"


async def test_unsubscribing_ends_it(backend: Backend, server: Node) -> None:
    """After the answer nothing of the channel comes; what is not followed cannot be left."""
    await backend.post("공개", "ann", "하나")
    async with server.connected("bora") as client:
        await client.hello()
        await subscribed(client, "공개")
        await client.say(Unsubscribe(channel_id="공개"))
        assert await client.frame() == Unsubscribed(channel_id="공개", reason="asked")
        await backend.post("공개", "ann", "둘")
        await server.hint("공개")
        await client.say(Unsubscribe(channel_id="공개"))
        refused = await client.frame()
        assert isinstance(refused, ErrorFrame)
        assert (refused.code, refused.detail) == ("not_found", "공개: not subscribed")


async def test_a_socket_follows_only_so_many(backend: Backend) -> None:
    """One more is refused; one that is followed already may begin anew."""
    for channel_id in ("a", "b", "c"):
        await backend.post(channel_id, "ann", "하나")
    limits = Limits(subscriptions_max=2)
    database = backend.ports.database
    async with node(database, limits=limits) as server, server.connected("bora") as client:
        await client.hello()
        for channel_id in ("a", "b", "a"):
            await subscribed(client, channel_id)
        await client.say(Subscribe(channel_id="c"))
        refused = await client.frame()
        assert isinstance(refused, ErrorFrame)
        assert refused.code == "limit"
        await client.say(Unsubscribe(channel_id="a"))
        assert isinstance(await client.frame(), Unsubscribed)
        await subscribed(client, "c")


@asynccontextmanager
async def whole_node(settings: Settings, backend: Backend) -> AsyncIterator[Node]:
    """A whole node: consumer, relay, tails and sockets."""
    stop = asyncio.Event()
    eventlog = open_eventlog(settings)
    with bind("127.0.0.1", 0, "MAEARI_WEBSOCKET_PORT") as listener:
        database, health = backend.ports.database, Health("eventlog", "database")
        serving = asyncio.create_task(
            serve(eventlog, database, SystemClock(), settings, listener, health, stop)
        )
        try:
            yield Node(database, Hub(), Feeds(database), int(listener.getsockname()[1]))
        finally:
            stop.set()
            await serving
            await eventlog.close()


async def test_cut_and_resumed_on_any_node_the_stream_is_exact(stores: Settings, backend: Backend) -> None:
    """Given two nodes, clients that cut and resume at random while others write: 1..N each, once."""
    chance = random.Random(17)
    last = 40

    async def write() -> None:
        for number in range(last - 2):
            await backend.post("공개", "ann", f"{number}")
            await backend.relay()

    async def follow(nodes: list[Node]) -> list[int]:
        seen: list[int] = []
        while not seen or seen[-1] < last:
            async with chance.choice(nodes).connected("bora") as client:
                await client.hello()
                await subscribed(client, "공개", seen[-1] if seen else 0)
                for _ in range(chance.randint(1, 9)):
                    if seen and seen[-1] == last:
                        break
                    seen += await numbers(client, 1)
        return seen

    async with dropped_topics(stores):
        await backend.ports.eventlog.apply_topics(ALL_TOPICS, 2)
        await backend.post("공개", "ann", "first")
        async with whole_node(stores, backend) as one, whole_node(stores, backend) as other:
            followers = [asyncio.create_task(follow([one, other])) for _ in range(4)]
            await write()
            for follower in followers:
                assert await follower == list(range(1, last + 1))
