"""Subscriptions to channels on both databases: every event, in order, for as long as the right lasts."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from backbone.settings import Settings
from backbone.wiring import open_database
from schemas.frames import ErrorFrame, Read, Unsubscribe, Unsubscribed
from tests.support.api import add_member, delete, edit, items, make_channel, remove_member
from tests.support.backend import Backend, user
from tests.support.sockets import LOOKING_OFTEN, ONLY_HINTS, Client, Node, node


@pytest.fixture
async def server(stores: Settings, backend: Backend) -> AsyncIterator[Node]:
    """A node on the backend's database."""
    del backend
    database = open_database(stores)
    async with node(database, limits=ONLY_HINTS) as served:
        yield served
    await database.close()


async def test_from_a_position_and_live(backend: Backend, server: Node) -> None:
    """History of all four topics first, then what happens, as the route gives it; without a position
    only what is new; a position beyond the end is the end."""
    await make_channel(backend, "공지", "owner", "bora")
    message = await backend.post("공지", "bora", "하나")
    await edit(backend, message, content="둘")
    async with server.connected("bora") as early, server.connected("bora") as late:
        await early.hello()
        await late.hello()
        assert await early.subscribe("공지", 1) == 1
        assert await early.sequences(3) == [2, 3, 4]
        assert await late.subscribe("공지") == 4
        assert await late.subscribe("공지", 99) == 4
        await backend.post("공지", "owner", "셋")
        await delete(backend, message, "bora")
        await server.hint("공지")
        told = await early.events(2)
        assert await late.events(2) == told
    assert [event["event_type"] for event in told] == ["message.created", "message.deleted"]
    assert await items(backend, "/channels/공지/events", after_sequence=4) == told


async def test_deleted_text_is_for_owners(backend: Backend, server: Node) -> None:
    """What was deleted before a subscriber gets to it comes as the route gives it, live or not."""
    await make_channel(backend, "c", "owner", "bora")
    async with server.connected("bora") as member, server.connected("owner") as owner:
        for client in (member, owner):
            await client.hello()
            await client.subscribe("c")
        await server.live("c", 2)
        message = await backend.post("c", "bora", "비밀번호")
        await delete(backend, message, "owner")
        await server.hint("c")
        for client, who in ((member, "bora"), (owner, "owner")):
            live = await client.events(2)
            await client.subscribe("c", 2)
            assert await client.events(2) == live
            assert live == await items(backend, "/channels/c/events", who, after_sequence=2)
            assert live[0].get("redacted", False) is (who == "bora")
            assert (live[0]["payload"]["content"] == "") is (who == "bora")


async def test_what_may_not_be_read_does_not_exist(backend: Backend, server: Node) -> None:
    """A private channel of others and one that there is not are refused alike, and the socket stays."""
    await make_channel(backend, "비밀", "owner", private=True)
    await backend.post("비밀", "owner", "우리끼리")
    async with server.connected("bora", 0) as client:
        await client.hello()
        await client.say('{"type":"subscribe","channel_id":"비밀","after_sequence":0}')
        refused = await client.frame()
        await client.say('{"type":"subscribe","channel_id":"없음"}')
        absent = await client.frame()
        assert isinstance(refused, ErrorFrame)
        assert isinstance(absent, ErrorFrame)
        assert (refused.code, absent.code) == ("not_found", "not_found")
        assert refused.detail.replace("비밀", "없음") == absent.detail
        await backend.post("공개", "owner", "모두")
        assert await client.subscribe("공개", 0) == 0
        assert await client.sequences(2) == [1, 2]


async def test_beginning_anew_and_ending(backend: Backend, server: Node) -> None:
    """A second subscribe begins again at its position; after `unsubscribed` nothing comes."""
    await make_channel(backend, "c", "owner")
    for number in range(3):
        await backend.post("c", "owner", f"{number}")
    async with server.connected("bora") as client:
        await client.hello()
        assert await client.subscribe("c", 0) == 0
        assert await client.sequences(4) == [1, 2, 3, 4]
        assert await client.subscribe("c", 2) == 2
        assert await client.sequences(2) == [3, 4]
        await client.say(Unsubscribe(channel_id="c"))
        assert await client.frame() == Unsubscribed(channel_id="c", reason="asked")
        await backend.post("c", "owner", "unheard")
        await server.hint("c")
        assert not server.feeds.followed("c")
        assert await client.subscribe("c", 4) == 4
        assert await client.sequences(1) == [5]


@pytest.mark.parametrize("hinted", [True, False])
async def test_the_right_ends(backend: Backend, stores: Settings, hinted: bool) -> None:
    """Whoever is put out gets `no_right`, at once or at the next look, and nothing from that event on."""
    database = open_database(stores)
    await make_channel(backend, "c", "owner", "bora", "chul", private=True)
    async with (
        node(database, limits=ONLY_HINTS if hinted else LOOKING_OFTEN) as server,
        server.connected("bora", 0) as bora,
        server.connected("chul", 0) as chul,
    ):
        for client in (bora, chul):
            await client.hello()
            assert await client.subscribe("c") == 3
        await backend.post("c", "owner", "셋 다")
        await remove_member(backend, "owner", "bora")
        await backend.post("c", "owner", "둘만")
        if hinted:
            await server.hint("c")
        assert await chul.sequences(3) == [4, 5, 6]
        frames = [json_type async for json_type in _until_unsubscribed(bora)]
        assert frames in (["event", "unsubscribed"], ["unsubscribed"])
        await bora.say('{"type":"subscribe","channel_id":"c"}')
        refused = await bora.frame()
        assert isinstance(refused, ErrorFrame)
        await add_member(backend, "owner", "bora")
        assert await bora.subscribe("c", 3) == 3
        assert await bora.sequences(4) == [4, 5, 6, 7]
    await database.close()


async def _until_unsubscribed(client: Client) -> AsyncIterator[str]:
    while True:
        frame = await client.frame()
        yield str(frame.__struct_config__.tag)
        if isinstance(frame, Unsubscribed):
            assert frame == Unsubscribed(channel_id="c", reason="no_right")
            return


async def test_leaving_a_public_channel_ends_nothing(backend: Backend, server: Node) -> None:
    """Whoever may read a public channel anyway stays subscribed; an owner who steps down sees less."""
    await make_channel(backend, "c", "owner", "bora")
    await backend.client.put("/channels/c/members/bora", json={"role": "owner"}, headers=user("owner"))
    async with server.connected("bora") as client:
        await client.hello()
        await client.subscribe("c")
        await server.live("c", 1)
        first = await backend.post("c", "owner", "하나")
        await delete(backend, first, "owner")
        await remove_member(backend, "bora", "bora")
        second = await backend.post("c", "owner", "둘")
        await delete(backend, second, "owner")
        await server.hint("c")
        told = await client.events(5)
    contents = [event["payload"].get("content") for event in told if event["event_type"] == "message.created"]
    assert contents == ["하나", ""]


async def test_notifications_come_beside(backend: Backend, server: Node) -> None:
    """A long history keeps neither reading nor other channels of the socket waiting for ever."""
    await make_channel(backend, "c", "owner")
    await make_channel(backend, "d", "owner")
    for number in range(100):
        await backend.post("c", "owner", f"{number}")
    async with server.connected("bora") as client:
        await client.hello()
        await client.say('{"type":"subscribe","channel_id":"c","after_sequence":0}')
        await client.say('{"type":"subscribe","channel_id":"d","after_sequence":0}')
        await client.say(Read(up_to=0))
        of_channel: dict[str, list[int]] = {"c": [], "d": []}
        while sum(map(len, of_channel.values())) < 102:
            frame: Any = await client.frame()
            if hasattr(frame, "event"):
                of_channel[frame.event.payload.channel_id].append(frame.event.sequence)
    assert of_channel == {"c": list(range(1, 102)), "d": [1]}
