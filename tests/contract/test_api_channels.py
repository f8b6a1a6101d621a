"""The routes of channels on both databases: who may, making, reading, listing."""

import asyncio
import re
from typing import Any

import pytest

from tests.support.api import ask, field_of, items, make_channel, pages
from tests.support.backend import Backend, user

VIEW_FIELDS = {"channel_id", "name", "private", "created_by", "created_at", "last_sequence", "role"}


async def test_who_may_not(backend: Backend) -> None:
    """Nobody makes a channel; nobody, its owner included, makes one again, whether they may see it or not."""
    body = {"channel_id": "비밀", "name": "x", "private": True}
    assert (await backend.client.post("/channels", json=body)).status_code == 401
    assert await items(backend, "/channels") == []
    await make_channel(backend, "비밀", "owner", private=True)
    await make_channel(backend, "공개", "owner")
    taken = [
        await backend.client.post(
            "/channels", json={"channel_id": channel_id, "name": "y"}, headers=user(who)
        )
        for channel_id in ("비밀", "공개")
        for who in ("owner", "outsider")
    ]
    assert [answer.status_code for answer in taken] == [409] * 4
    assert len({answer.content for answer in taken}) == 1


@pytest.mark.parametrize("channel_id", ["general", "팀 일반", "a?b#c%2F", "%", "🚀", "x" * 128, "ㄱ" * 128])
async def test_making_one(backend: Backend, channel_id: str) -> None:
    """201 with the channel, and a Location that leads to it, whatever script its id is in."""
    body = {"channel_id": channel_id, "name": "이름 ", "private": True}
    made = await backend.client.post("/channels", json=body, headers=user("철수"))
    assert made.status_code == 201
    channel = made.json()
    assert set(channel) == VIEW_FIELDS
    assert {name: channel[name] for name in body} == body
    assert (channel["created_by"], channel["role"], channel["last_sequence"]) == ("철수", "owner", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", channel["created_at"])
    assert made.headers["Location"].isascii()
    assert made.headers["ETag"] == '"1-owner"'
    read = await ask(backend, made.headers["Location"], "철수")
    assert (read.status_code, read.json(), read.headers["ETag"]) == (200, channel, '"1-owner"')
    events = await items(backend, f"{made.headers['Location']}/events", "철수")
    assert [(event["event_type"], event["sequence"]) for event in events] == [("channel.created", 1)]


async def test_without_an_id_it_gets_one(backend: Backend) -> None:
    """The id is `ch_` and a UUIDv7; channels are public unless it is asked otherwise."""
    made = await backend.client.post("/channels", json={"name": "x"}, headers=user("a"))
    channel = made.json()
    assert re.fullmatch(
        r"ch_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", channel["channel_id"]
    )
    assert channel["private"] is False
    assert made.headers["Location"] == f"/channels/{channel['channel_id']}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\u0007b"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": 1}, "name"),
        ({"name": "x", "private": "yes"}, "private"),
        ({"name": "x", "private": None}, "private"),
        ({"name": "x", "channel_id": ""}, "channel_id"),
        ({"name": "x", "channel_id": None}, "channel_id"),
        ({"name": "x", "channel_id": "a/b"}, "channel_id"),
        ({"name": "x", "channel_id": "."}, "channel_id"),
        ({"name": "x", "channel_id": ".."}, "channel_id"),
        ({"name": "x", "channel_id": "c" * 129}, "channel_id"),
    ],
)
async def test_bad_bodies(backend: Backend, body: dict[str, Any], field: str) -> None:
    """Each is 400 and names the field; no channel is made."""
    assert field_of(await backend.client.post("/channels", json=body, headers=user("a"))) == field
    assert await items(backend, "/channels", "a") == []


async def test_one_of_many_makers_wins(backend: Backend) -> None:
    """Of twenty who make the same channel at once one gets it, and the others 409."""
    body = {"channel_id": "c", "name": "c"}
    answers = await asyncio.gather(
        *(backend.client.post("/channels", json=body, headers=user(f"u{n}")) for n in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19


async def test_reading_one(backend: Backend) -> None:
    """The view tells the reader's own role, and the last event's number, which is its version."""
    await make_channel(backend, "c", "owner", "member")
    await backend.post("c", "owner", "x")
    roles = {
        who: (await ask(backend, "/channels/c", who)).json()["role"] for who in ("owner", "member", "x", None)
    }
    assert roles == {"owner": "owner", "member": "member", "x": None, None: None}
    read = await ask(backend, "/channels/c")
    assert (read.json()["last_sequence"], read.headers["ETag"]) == (3, '"3-none"')
    for tags, status in [
        ('"3-none"', 304),
        ('W/"3-none"', 304),
        ('"1", "3-none"', 304),
        ("*", 304),
        ('"2"', 200),
        ("3-none", 200),
    ]:
        again = await backend.client.get("/channels/c", headers={"If-None-Match": tags})
        assert (again.status_code, again.headers["ETag"]) == (status, '"3-none"'), tags
        assert bool(again.content) == (status == 200)


@pytest.mark.parametrize(
    "path", ["a%2Fb", "%00", "%0A", "a%0a", "%7F", "%FF", "%ED%A0%80", "x" * 129, "%EF%BF"]
)
async def test_ids_that_cannot_be(backend: Backend, path: str) -> None:
    """They are 404 on every route with a channel, also where their parts would name another route."""
    await make_channel(backend, "a", "owner")
    await make_channel(backend, "b", "owner")
    await make_channel(backend, "\ufffd", "owner")
    for rest in ("", "/messages", "/events", "/members", "%2Fmessages", "%2fmembers"):
        answer = await backend.client.get(f"/channels/{path}{rest}")
        assert answer.status_code == 404, rest
    put = await backend.client.put(f"/channels/{path}/members/u", headers=user("owner"))
    assert put.status_code == 404
    put = await backend.client.put(f"/channels/a/members/{path}", headers=user("owner"))
    assert put.status_code == 404
    read = await backend.client.put(f"/channels/{path}/read", json={"sequence": 1}, headers=user("owner"))
    assert read.status_code == 404


async def test_empty_ids_name_nothing(backend: Backend) -> None:
    """A path without its id does not name what its next part says."""
    await make_channel(backend, "members", "owner")
    assert (await backend.client.get("/channels//members")).status_code == 404
    assert (await backend.client.get("/channels/members")).status_code == 200


async def test_listing(backend: Backend) -> None:
    """Channels come in the order of their code points, on every database, each page linked to the next."""
    ids = ["B", "Z", "_", "a", "b", "é", "가", "나", "힣", "\ue000", "🚀"]
    for channel_id in reversed(ids):
        await make_channel(backend, channel_id, "owner", private=channel_id in "Za나")
    public = [channel_id for channel_id in ids if channel_id not in "Za나"]
    for limit in (1, 2, 3, 4, 50):
        for who, expected in [("owner", ids), (None, public), ("outsider", public)]:
            found = await pages(backend, "/channels", who, limit=limit)
            assert [each["channel_id"] for page in found for each in page] == expected
            assert all(len(page) == limit for page in found[:-1])
            assert found[-1]
    roles = {each["channel_id"]: each["role"] for each in await items(backend, "/channels", "owner")}
    assert set(roles.values()) == {"owner"}


BAD_PARAMETERS = [
    ("limit=0", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=", "limit"),
    ("limit=1e1", "limit"), ("limit=%D9%A1", "limit"), ("limit=10&limit=10", "limit"),
    ("cursor=", "cursor"), ("cursor=x", "cursor"), ("cursor=%EA%B0%80", "cursor"),
    ("cursor=" + "A" * 4000, "cursor"), ("cursor=AAAAAAAAAAAAAAAAAAAAAA", "cursor"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "field"), BAD_PARAMETERS)
async def test_bad_parameters(backend: Backend, query: str, field: str) -> None:
    """Each is 400 on every list, and names the parameter."""
    await make_channel(backend, "c", "owner")
    message = await backend.post("c", "owner", "x")
    path = f"/messages/{message['message_id']}"
    for each in (
        "/channels", "/channels/c/messages", "/channels/c/events", "/channels/c/members", "/unread",
        "/notifications", f"{path}/history", f"{path}/replies",
    ):  # fmt: skip
        answer = await backend.client.get(f"{each}?{query}", headers=user("owner"))
        assert field_of(answer) == field, each


async def test_cursors(backend: Backend) -> None:
    """A cursor is good for its list alone, with its parameters; one that is changed anywhere is refused."""
    for channel_id in ("c", "d", "e"):
        await make_channel(backend, channel_id, "owner", "member")
    lists = ["/channels", "/channels/c/members", "/channels/d/members", "/channels/c/events",
             "/channels/d/events", "/channels/c/events?after_sequence=0"]  # fmt: skip
    cursors = {}
    for path in lists:
        path_, _, query = path.partition("?")
        answer = await backend.client.get(f"{path_}?limit=1&{query}" if query else f"{path_}?limit=1")
        cursors[path] = str(answer.links["next"]["url"].partition("cursor=")[2])
    for of_list in lists:
        for path, cursor in cursors.items():
            joint = "&" if "?" in of_list else "?"
            answer = await backend.client.get(f"{of_list}{joint}cursor={cursor}")
            assert answer.status_code == (200 if path == of_list else 400), (of_list, path)
    cursor = cursors["/channels"]
    for place in range(len(cursor)):
        changed = cursor[:place] + ("B" if cursor[place] == "A" else "A") + cursor[place + 1 :]
        assert field_of(await ask(backend, "/channels", cursor=changed)) == "cursor"
        assert field_of(await ask(backend, "/channels", cursor=cursor[:place])) == "cursor"
    for added in ("=", "A", " ", "=="):
        assert field_of(await ask(backend, "/channels", cursor=cursor + added)) == "cursor"
