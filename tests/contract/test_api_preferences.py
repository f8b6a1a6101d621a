"""What users want to be told, over REST, and why they were told or not, on both databases."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from backbone.database.tables import outbox
from backbone.settings import Settings, TokenSecurity
from schemas.events import UserChannelLevelSet, UserDoNotDisturbSet, UserInboxRead, decode
from tests.support.api import delete, edit, items, make_channel
from tests.support.backend import Backend, running_backend, user
from tests.support.inboxes import tell_all_stored
from tests.support.tokens import SECRET, bearer

NIGHT = {"start": "22:00", "end": "07:30", "timezone": "Asia/Seoul"}


def hours_around_now() -> dict[str, str]:
    """Return an hour before now, and one after."""
    now, hour = datetime.now(ZoneInfo("Asia/Seoul")), timedelta(hours=1)
    return {"start": f"{now - hour:%H:%M}", "end": f"{now + hour:%H:%M}", "timezone": "Asia/Seoul"}


async def put(backend: Backend, path: str, who: str, body: Any) -> Any:
    return await backend.client.put(path, json=body, headers=user(who))


async def why(backend: Backend, message_id: str, who: str) -> dict[str, tuple[str, str]]:
    """Return outcome and cause for each reason."""
    answer = await backend.client.get(
        "/notifications/why", params={"message_id": message_id}, headers=user(who)
    )
    assert answer.status_code == 200, answer.text
    assert (answer.json()["message_id"], answer.json()["user_id"]) == (message_id, who)
    return {each["reason"]: (each["outcome"], each["because"]) for each in answer.json()["reasons"]}


async def test_preferences_are_kept_and_told(backend: Backend) -> None:
    """What is set is read back, set anew, and taken back; each time an event tells of it, in order."""
    await make_channel(backend, "개발", "owner", "bora")
    empty: dict[str, Any] = {"do_not_disturb": None, "channels": {}}
    read = "/notifications/preferences"
    assert (await backend.client.get(read, headers=user("bora"))).json() == empty
    assert (await put(backend, read, "bora", {"do_not_disturb": NIGHT})).json() == {
        **empty,
        "do_not_disturb": NIGHT,
    }
    for level in ("nothing", "mentions"):
        assert (
            await put(backend, "/channels/개발/notifications", "bora", {"level": level})
        ).status_code == 204
    stored = (await backend.client.get(read, headers=user("bora"))).json()
    assert stored == {"do_not_disturb": NIGHT, "channels": {"개발": "mentions"}}
    await put(backend, "/channels/개발/notifications", "bora", {"level": "all"})
    assert (await put(backend, read, "bora", {"do_not_disturb": None})).json() == empty
    async with backend.ports.database.reading() as connection:
        rows = await connection.execute(
            select(outbox.c.body).where(outbox.c.topic == "users.changed").order_by(outbox.c.position)
        )
        told = [decode(row.body) for row in rows]
    assert [type(each) for each in told] == [
        UserDoNotDisturbSet,
        UserChannelLevelSet,
        UserChannelLevelSet,
        UserChannelLevelSet,
        UserDoNotDisturbSet,
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/notifications/preferences", {}, 400),
        ("/notifications/preferences", {"do_not_disturb": {**NIGHT, "timezone": "Mars/Base"}}, 400),
        ("/notifications/preferences", {"do_not_disturb": {**NIGHT, "timezone": "../etc/passwd"}}, 400),
        ("/notifications/preferences", {"do_not_disturb": {**NIGHT, "start": "24:00"}}, 400),
        ("/notifications/preferences", {"do_not_disturb": {**NIGHT, "start": "22:00\n"}}, 400),
        ("/notifications/preferences", {"do_not_disturb": {**NIGHT, "end": "22:00"}}, 400),
        ("/channels/개발/notifications", {"level": "loud"}, 400),
        ("/channels/개발/notifications", {}, 400),
        ("/channels/no such/notifications", {"level": "all"}, 404),
    ],
)
async def test_bad_input_is_refused(backend: Backend, path: str, body: Any, status: int) -> None:
    """With a problem document, and nothing is stored."""
    await make_channel(backend, "개발", "owner", "bora")
    answer = await put(backend, path, "bora", body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    kept = await backend.client.get("/notifications/preferences", headers=user("bora"))
    assert kept.json() == {"do_not_disturb": None, "channels": {}}


async def test_what_is_muted_reaches_the_inbox_all_the_same(backend: Backend) -> None:
    """Given levels and hours, the notifications are there, muted, and it is said why."""
    await make_channel(backend, "개발", "owner", "bora", "chul", "dana")
    await put(backend, "/channels/개발/notifications", "bora", {"level": "nothing"})
    await put(backend, "/notifications/preferences", "chul", {"do_not_disturb": hours_around_now()})
    posted = await backend.post("개발", "owner", "모두", mentions=["bora", "chul", "dana"])
    await tell_all_stored(backend.ports.database)
    message_id = posted["message_id"]
    assert (await why(backend, message_id, "chul"))["mention"] == ("muted", "do_not_disturb")
    assert (await why(backend, message_id, "bora"))["mention"] == ("muted", "channel_level")
    assert (await why(backend, message_id, "dana"))["mention"] == ("sent", "mentioned")
    newest = {who: (await items(backend, "/notifications", who))[0] for who in ("bora", "chul", "dana")}
    assert {who: each["muted"] for who, each in newest.items()} == {
        "bora": True,
        "chul": True,
        "dana": False,
    }
    assert all(each["body"] == "모두" for each in newest.values())


async def test_why_for_each_cause(backend: Backend) -> None:
    """Each way in which somebody is told, or is not, has its cause."""
    await make_channel(backend, "비밀", "owner", "bora", "chul", private=True)
    first = await backend.post("비밀", "owner", "하나", mentions=["bora", "chul", "dana", "owner"])
    reply = await backend.post("비밀", "bora", "답", parent_id=first["message_id"])
    pending = first["message_id"]
    assert (await why(backend, pending, "bora"))["mention"] == ("pending", "not_yet_processed")
    await tell_all_stored(backend.ports.database)
    assert await why(backend, first["message_id"], "bora") == {
        "mention": ("sent", "mentioned"),
        "reply": ("not_sent", "not_a_reply"),
    }
    assert (await why(backend, first["message_id"], "owner"))["mention"] == ("not_sent", "own_message")
    assert await why(backend, reply["message_id"], "owner") == {
        "mention": ("not_sent", "not_mentioned"),
        "reply": ("sent", "replied"),
    }
    assert (await why(backend, reply["message_id"], "bora"))["reply"] == ("not_sent", "own_message")
    assert (await why(backend, reply["message_id"], "chul"))["reply"] == ("not_sent", "not_in_the_thread")
    outside = await backend.client.get(
        "/notifications/why", params={"message_id": first["message_id"]}, headers=user("dana")
    )
    assert outside.status_code == 404
    await make_channel_member(backend, "비밀", "dana")
    await tell_all_stored(backend.ports.database)
    assert (await why(backend, first["message_id"], "dana"))["mention"] == ("not_sent", "not_a_member")
    await edit(backend, first, mentions=["bora"])
    await tell_all_stored(backend.ports.database)
    assert (await why(backend, first["message_id"], "chul"))["mention"] == ("retracted", "mention_removed")
    await delete(backend, first, "owner")
    await tell_all_stored(backend.ports.database)
    assert (await why(backend, first["message_id"], "bora"))["mention"] == ("retracted", "message_deleted")


async def make_channel_member(backend: Backend, channel_id: str, user_id: str) -> None:
    path = f"/channels/{channel_id}/members/{user_id}"
    assert (await backend.client.put(path, headers=user("owner"))).status_code == 200


async def test_a_read_mark_is_told(backend: Backend) -> None:
    """Given two notifications, marking them as read is an event, once."""
    for text in ("하나", "둘"):
        await backend.post("공개", "owner", text, mentions=["bora"])
    await tell_all_stored(backend.ports.database)
    for _ in range(2):
        answer = await backend.client.post("/notifications/read", json={"up_to": 9}, headers=user("bora"))
        assert answer.status_code == 204
    async with backend.ports.database.reading() as connection:
        rows = await connection.execute(select(outbox.c.body).where(outbox.c.topic == "users.changed"))
        (mark,) = [decode(row.body) for row in rows]
    assert isinstance(mark, UserInboxRead)
    assert (mark.payload.user_id, mark.payload.up_to) == ("bora", 2)


@pytest.fixture
async def guarded(stores: Settings) -> AsyncIterator[Backend]:
    """A running API that asks for tokens."""
    settings = replace(stores, auth="jwt", token_security=TokenSecurity(secret=SECRET))
    async with running_backend(settings) as running:
        yield running


async def test_why_of_another_user_takes_the_scope(guarded: Backend) -> None:
    """Without it 403; with it even those outside are explained."""
    made = await guarded.client.post(
        "/channels", json={"channel_id": "비밀", "name": "비밀", "private": True}, headers=bearer("owner")
    )
    assert made.status_code == 201
    posted = await guarded.client.post(
        "/messages",
        json={"channel_id": "비밀", "content": "하나", "mentions": ["dana"]},
        headers=bearer("owner"),
    )
    await tell_all_stored(guarded.ports.database)
    asked = {"message_id": posted.json()["message_id"], "user_id": "dana"}
    path = "/notifications/why"
    assert (await guarded.client.get(path, params=asked, headers=bearer("bora"))).status_code == 403
    assert (await guarded.client.get(path, params=asked, headers=bearer("dana"))).status_code == 404
    answer = await guarded.client.get(path, params=asked, headers=bearer("operator", scope="impersonate"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["reasons"][0] == {
        "reason": "mention",
        "outcome": "not_sent",
        "because": "not_a_member",
        "seq": None,
    }
