"""The routes of members on both databases: who may, joining, adding, roles, leaving, the last owner."""

import asyncio
from typing import Any

import pytest
from httpx import Response

from tests.support.api import ask, field_of, items, make_channel, pages
from tests.support.backend import Backend, user


async def put(backend: Backend, who: str, member: str, channel: str = "c", **body: Any) -> Response:
    path = f"/channels/{channel}/members/{member}"
    return await backend.client.put(path, headers=user(who), json=body or None)


async def remove(backend: Backend, who: str, member: str, channel: str = "c") -> Response:
    return await backend.client.delete(f"/channels/{channel}/members/{member}", headers=user(who))


async def roles(backend: Backend, who: str = "owner", channel: str = "c") -> dict[str, str]:
    return {
        each["user_id"]: each["role"] for each in await items(backend, f"/channels/{channel}/members", who)
    }


async def test_who_may_not(backend: Backend) -> None:
    """Nobody changes anything; others than owners neither add, nor promote, nor remove others."""
    await make_channel(backend, "c", "owner", "member")
    before = await items(backend, "/channels/c/events")
    path = "/channels/c/members/member"
    assert (await backend.client.put(path)).status_code == 401
    assert (await backend.client.delete(path)).status_code == 401
    for who in ("member", "outsider"):
        assert (await put(backend, who, "someone")).status_code == 403
        assert (await put(backend, who, "owner", role="member")).status_code == 403
        assert (await put(backend, who, who, role="owner")).status_code == 403
        assert (await remove(backend, who, "owner")).status_code == 403
    assert (await remove(backend, "outsider", "member")).status_code == 403
    assert await items(backend, "/channels/c/events") == before


async def test_joining_and_leaving(backend: Backend) -> None:
    """A public channel is joined and left by whoever likes; each change is one event, each repeat none."""
    await make_channel(backend, "c", "owner")
    for _ in range(2):
        joined = await put(backend, "철수", "철수")
        assert (joined.status_code, joined.json()) == (
            200, {"channel_id": "c", "user_id": "철수", "role": "member", "version": 2},
        )  # fmt: skip
    assert await roles(backend) == {"owner": "owner", "철수": "member"}
    for _ in range(2):
        left = await remove(backend, "철수", "철수")
        assert (left.status_code, left.content) == (204, b"")
    assert await roles(backend) == {"owner": "owner"}
    events = await items(backend, "/channels/c/events")
    assert [event["event_type"] for event in events] == [
        "channel.created", "channel.member_added", "channel.member_removed",
    ]  # fmt: skip
    assert {event["payload"]["changed_by"] for event in events[1:]} == {"철수"}


async def test_owners(backend: Backend) -> None:
    """Owners add, promote, demote and remove; a body without a role leaves the present one."""
    await make_channel(backend, "c", "owner", private=True)
    assert (await put(backend, "owner", "a", role="owner")).json()["role"] == "owner"
    bodies: list[dict[str, Any]] = [{}, {"other": 1}]
    for body in bodies:
        again = await put(backend, "owner", "a", **body)
        assert (again.status_code, again.json()["role"], again.json()["version"]) == (200, "owner", 2)
    assert (await put(backend, "a", "b")).json()["role"] == "member"
    assert (await put(backend, "a", "owner", role="member")).json()["role"] == "member"
    assert await roles(backend, "a") == {"a": "owner", "b": "member", "owner": "member"}
    assert (await remove(backend, "a", "owner")).status_code == 204
    assert (await ask(backend, "/channels/c", "owner")).status_code == 404


async def test_the_last_owner_stays(backend: Backend) -> None:
    """409 for leaving and for stepping down, until there is another owner."""
    await make_channel(backend, "c", "owner", "member")
    assert (await remove(backend, "owner", "owner")).status_code == 409
    assert (await put(backend, "owner", "owner", role="member")).status_code == 409
    assert (await put(backend, "owner", "member", role="owner")).status_code == 200
    assert (await remove(backend, "owner", "owner")).status_code == 204
    assert (await remove(backend, "member", "member")).status_code == 409


async def test_two_owners_leave_at_once(backend: Backend) -> None:
    """However they meet, one of them has to stay."""
    await make_channel(backend, "c", "a", "b")
    await put(backend, "a", "b", role="owner")
    answers = await asyncio.gather(remove(backend, "a", "a"), remove(backend, "b", "b"))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert list((await roles(backend, "a")).values()) == ["owner"]


@pytest.mark.parametrize("body", [b'{"role": "admin"}', b'{"role": null}', b'{"role": 1}', b"[]", b"{"])
async def test_bad_bodies(backend: Backend, body: bytes) -> None:
    """A role that is none is 400, and so is what is no object; `null` is as good as no body."""
    await make_channel(backend, "c", "owner")
    headers = user("owner", **{"Content-Type": "application/json"})
    answer = await backend.client.put("/channels/c/members/a", content=body, headers=headers)
    assert answer.status_code == 400
    if b"role" in body:
        assert field_of(answer) == "role"
    assert await roles(backend) == {"owner": "owner"}
    null = await backend.client.put("/channels/c/members/a", content=b"null", headers=headers)
    assert null.status_code == 200


async def test_channels_that_are_not_there(backend: Backend) -> None:
    """404 for whoever asks, and no channel is made of it."""
    assert (await put(backend, "a", "a", "nowhere")).status_code == 404
    assert (await remove(backend, "a", "a", "nowhere")).status_code == 404
    assert (await ask(backend, "/channels/nowhere/members", "a")).status_code == 404
    assert await items(backend, "/channels", "a") == []


async def test_listing(backend: Backend) -> None:
    """Members come in the order of their ids' code points, paged; whoever reads the channel sees them."""
    ids = ["B", "Z", "a", "b", "é", "가", "나 다", "🚀"]
    await make_channel(backend, "c", "a", *(each for each in reversed(ids) if each != "a"))
    for limit in (1, 3, 7, 8, 9):
        found = await pages(backend, "/channels/c/members", limit=limit)
        assert [each["user_id"] for page in found for each in page] == ids
        assert len(found) == -(-len(ids) // limit)
    versions = [each["version"] for page in found for each in page]
    assert sorted(versions) == list(range(1, len(ids) + 1))
