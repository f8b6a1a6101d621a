"""A private channel, asked for by those outside on every route: it is as if it did not exist."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from httpx import Response

from backbone.clock import SystemClock
from backbone.mailbox import Asked, Mailbox
from backbone.settings import Settings, TokenSecurity
from backend.api.routes import ROUTES
from schemas.frames import NotificationFrame
from tests.support.api import delete, items, make_channel
from tests.support.backend import Backend, running_backend, user
from tests.support.inboxes import tell_all_stored
from tests.support.tokens import SECRET, bearer

# Every route that names a channel or a message, with what is sent to it.
ASKED: list[tuple[str, str, Any]] = [
    ("GET", "/channels/{channel_id}", None),
    ("GET", "/channels/{channel_id}/messages", None),
    ("GET", "/channels/{channel_id}/messages?after_sequence=0", None),
    ("GET", "/channels/{channel_id}/events", None),
    ("GET", "/channels/{channel_id}/events?after_sequence=99", None),
    ("GET", "/channels/{channel_id}/members", None),
    ("PUT", "/channels/{channel_id}/members/outsider", None),
    ("PUT", "/channels/{channel_id}/members/outsider", {"role": "owner"}),
    ("PUT", "/channels/{channel_id}/members/owner", {"role": "member"}),
    ("DELETE", "/channels/{channel_id}/members/outsider", None),
    ("DELETE", "/channels/{channel_id}/members/owner", None),
    ("PUT", "/channels/{channel_id}/read", {"sequence": 1}),
    ("PUT", "/channels/{channel_id}/notifications", {"level": "nothing"}),
    ("GET", "/messages/{message_id}", None),
    ("GET", "/messages/{message_id}?as_of=2000-01-01T00:00:00Z", None),
    ("GET", "/messages/{message_id}?as_of=2999-01-01T00:00:00Z", None),
    ("GET", "/messages/{message_id}/history", None),
    ("GET", "/messages/{message_id}/replies", None),
    ("PATCH", "/messages/{message_id}", {"content": "x"}),
    ("DELETE", "/messages/{message_id}", None),
    ("GET", "/notifications/why?message_id={message_id}", None),
]
# Routes that name neither; what they tell those outside has tests of its own.
OTHERS = {
    ("POST", "/messages"),
    ("GET", "/messages/search"),
    ("GET", "/channels"),
    ("POST", "/channels"),
    ("GET", "/unread"),
    ("GET", "/notifications"),
    ("POST", "/notifications/read"),
    ("GET", "/notifications/preferences"),
    ("PUT", "/notifications/preferences"),
}


def test_every_route_is_asked() -> None:
    """A route that is added must be added here."""
    routes = {(method, path) for route in ROUTES for path in route.paths for method in route.http_methods}
    named = {
        (method, path.partition("?")[0].replace("members/outsider", "members/{user_id}"))
        for method, path, _ in ASKED
    }
    named = {(method, path.replace("members/owner", "members/{user_id}")) for method, path in named}
    assert named | OTHERS == {(method, re.sub(r":str}", "}", path)) for method, path in routes}


async def asked(
    backend: Backend, headers: dict[Any, Any], method: str, path: str, body: Any, **ids: str
) -> Response:
    sent = {} if body is None else {"json": body}
    return await backend.client.request(method, path.format(**ids), headers=headers, **sent)


def told(answer: Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that an answer tells, but for how many writes are left, which each of them lowers."""
    headers = [each for each in answer.headers.multi_items() if not each[0].startswith("ratelimit-")]
    return answer.status_code, answer.content, headers


@pytest.fixture
async def guarded(stores: Settings) -> AsyncIterator[Backend]:
    """A running API that asks for tokens."""
    async with running_backend(
        replace(stores, auth="jwt", token_security=TokenSecurity(secret=SECRET))
    ) as running:
        yield running


async def secrets(backend: Backend, headers: dict[Any, Any]) -> list[dict[str, str]]:
    """Make a private channel with a message, and one that is deleted; return the ids of both."""
    body = {"channel_id": "비밀", "name": "비밀", "private": True}
    assert (await backend.client.post("/channels", json=body, headers=headers)).status_code == 201
    post = {"channel_id": "비밀", "content": "안녕"}
    answers = [await backend.client.post("/messages", json=post, headers=headers) for _ in range(2)]
    gone = await backend.client.delete(answers[1].headers["Location"], headers=headers)
    assert gone.status_code == 204
    return [{"channel_id": "비밀", "message_id": answer.json()["message_id"]} for answer in answers]


NOWHERE = {"channel_id": "없음", "message_id": "msg_00000000-0000-7000-8000-000000000000"}


async def test_outsiders_and_nobody(backend: Backend) -> None:
    """Status, body and headers are those of a channel that does not exist; nobody's changes are 401."""
    for ids in await secrets(backend, user("owner")):
        for method, path, body in ASKED:
            for headers in (user("outsider"), {}):
                real = await asked(backend, headers, method, path, body, **ids)
                imagined = await asked(backend, headers, method, path, body, **NOWHERE)
                assert told(real) == told(imagined), (method, path)
                of_oneself = path.startswith("/notifications/")
                known = headers or (method == "GET" and not of_oneself)
                assert real.status_code == (404 if known else 401), (method, path)
    assert [each["user_id"] for each in await items(backend, "/channels/비밀/members", "owner")] == ["owner"]
    assert len(await items(backend, "/channels/비밀/events", "owner")) == 4


async def test_outsiders_with_tokens(guarded: Backend) -> None:
    """With tokens it is the same, posts included; without one everything is 401."""
    ways = [*ASKED, ("POST", "/messages", {"content": "x"})]
    for ids in await secrets(guarded, bearer("owner")):
        for method, path, body in ways:
            real, imagined = [
                await asked(
                    guarded,
                    bearer("outsider"),
                    method,
                    path,
                    {**body, "channel_id": where["channel_id"]} if method == "POST" else body,
                    **where,
                )
                for where in (ids, NOWHERE)
            ]
            assert told(real) == told(imagined), (method, path)
            assert real.status_code == 404, (method, path)
            nobody = await asked(guarded, {}, method, path, body, **ids)
            assert nobody.status_code == 401, (method, path)


async def test_the_other_routes(backend: Backend) -> None:
    """Lists leave the channel out; a reply to its message, elsewhere, is one to nothing."""
    ids, _ = await secrets(backend, user("owner"))
    await make_channel(backend, "공개", "outsider")
    for who in ("outsider", None):
        assert [each["channel_id"] for each in await items(backend, "/channels", who)] == ["공개"]
    assert {each["channel_id"] for each in await items(backend, "/channels", "owner")} == {"공개", "비밀"}
    assert [each["channel_id"] for each in await items(backend, "/unread", "outsider")] == ["공개"]
    for parent in (ids["message_id"], NOWHERE["message_id"]):
        body = {"channel_id": "공개", "content": "x", "parent_id": parent}
        refused = await backend.client.post("/messages", json=body, headers=user("outsider"))
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "parent_id")
    post = {"channel_id": "비밀", "content": "x"}
    assert (await backend.client.post("/messages", json=post, headers=user("outsider"))).status_code == 404


async def test_whoever_is_removed_is_outside(backend: Backend) -> None:
    """A member reads everything, until it is taken out: then the channel does not exist any more."""
    await make_channel(backend, "비밀", "owner", "member", private=True)
    message = await backend.post("비밀", "member", "x")
    ids = {"channel_id": "비밀", "message_id": message["message_id"]}
    reads = [(method, path) for method, path, _ in ASKED if method == "GET" and "2000" not in path]
    await backend.client.put("/channels/비밀/read", json={"sequence": 1}, headers=user("member"))
    for method, path in reads:
        answer = await asked(backend, user("member"), method, path, None, **ids)
        assert answer.status_code == 200, path
    gone = await backend.client.delete("/channels/비밀/members/member", headers=user("owner"))
    assert gone.status_code == 204
    for method, path in reads:
        answer = await asked(backend, user("member"), method, path, None, **ids)
        assert answer.status_code == 404, path
    for path in ("/unread", "/channels"):
        assert await items(backend, path, "member") == []
    # Not even what was its own.
    path = f"/messages/{message['message_id']}"
    assert (await backend.client.delete(path, headers=user("member"))).status_code == 404
    await delete(backend, message, "owner")


async def inbox_of(backend: Backend, who: str, **parameters: str) -> list[tuple[int, str | None, bool]]:
    """Return number, text and whether it is retracted; as the route shows them and as sockets do."""
    listed = await items(backend, "/notifications", who, after="0", **parameters)
    shown = [(each["seq"], each["body"], each.get("retracted", False)) for each in listed]
    assert all((each["title"] is None) == (each["body"] is None) for each in listed)
    if not parameters:
        asked = Asked(who, 0)
        news = await Mailbox(backend.ports.database, SystemClock()).after([asked], 100)
        frames = news[asked].entries
        sent = [frame for frame in frames if isinstance(frame, NotificationFrame)]
        assert shown == [
            (each.seq, each.notification.body, each.notification.retracted is True) for each in sent
        ]
        assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1)), "no gap"
    return shown


async def test_the_inbox_forgets_what_its_user_may_not_read(backend: Backend) -> None:
    """Outside the channel, and once the message is deleted, no text is shown, before the notifier hears."""
    await make_channel(backend, "비밀", "owner", "bora", "dana", private=True)
    for text in ("하나", "둘"):
        await backend.post("비밀", "owner", text, mentions=["bora", "dana"])
    public = await backend.post("공개", "owner", "셋", mentions=["bora"])
    await tell_all_stored(backend.ports.database)
    assert await inbox_of(backend, "bora") == [(1, "하나", False), (2, "둘", False), (3, "셋", False)]

    removed = await backend.client.delete("/channels/비밀/members/bora", headers=user("owner"))
    assert removed.status_code == 204
    assert await inbox_of(backend, "bora") == [(1, None, True), (2, None, True), (3, "셋", False)]
    assert await inbox_of(backend, "bora", unread="true") == [(3, "셋", False)]
    assert await inbox_of(backend, "dana") == [(1, "하나", False), (2, "둘", False)]

    await delete(backend, public, "owner")
    assert await inbox_of(backend, "bora") == [(1, None, True), (2, None, True), (3, None, True)]
    assert await inbox_of(backend, "bora", unread="true") == []

    added = await backend.client.put("/channels/비밀/members/bora", headers=user("owner"))
    assert added.status_code == 200
    assert await inbox_of(backend, "bora") == [(1, "하나", False), (2, "둘", False), (3, None, True)]
