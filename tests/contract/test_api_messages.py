"""The message routes on both databases: who may, what is answered, what bad input gets, what is stored."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select

from backbone.database.tables import message_events, messages, outbox
from backbone.settings import Settings
from schemas.events import MessageCreated, decode_stream_event
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, running_backend, user
from tests.support.database import own_database

MESSAGE_FIELDS = {
    "message_id", "channel_id", "author_id", "content", "mentions", "attachments", "parent_id",
    "sequence", "version", "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture(params=ADAPTERS)
async def backend(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Backend]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own, running_backend(own) as running:
        yield running


async def stored(backend: Backend) -> tuple[int, int, int]:
    """Count the rows of messages, events and the outbox."""
    async with backend.ports.database.reading() as connection:
        counts = [
            int(await connection.scalar(select(func.count()).select_from(table)) or 0)
            for table in (messages, message_events, outbox)
        ]
    return counts[0], counts[1], counts[2]


async def test_who_may_not(backend: Backend) -> None:
    """Nobody named: 401; two named: 403; a stranger edits or deletes: 403; nothing is stored."""
    message = await backend.post("일반", "철수", "안녕")
    before = await stored(backend)
    path = f"/messages/{message['message_id']}"
    client = backend.client
    nobody = await client.post("/messages", json={"channel_id": "일반", "content": "x"})
    both = await client.post(
        "/messages", json={"channel_id": "일반", "content": "x", "author_id": "a"}, headers=user("b")
    )
    assert (nobody.status_code, both.status_code) == (401, 403)
    assert (await client.patch(path, json={"content": "x"})).status_code == 401
    assert (await client.delete(path)).status_code == 401
    assert (await client.patch(path, json={"content": "x"}, headers=user("영희"))).status_code == 403
    assert (await client.delete(path, headers=user("영희"))).status_code == 403
    assert await stored(backend) == before


async def test_post_answers_the_message_as_stored(backend: Backend) -> None:
    """201 with every field, Location, ETag and token; channel.created is 1 and the message 2."""
    body = {
        "channel_id": "팀/없음".replace("/", "-"),
        "author_id": "철수",
        "content": "배포를 완료했습니다 🚀\n끝",
        "mentions": ["영희", "@channel"],
        "attachments": [{"name": "로그.txt", "url": "https://files.example/1"}],
    }
    answer = await backend.client.post("/messages", json=body)
    message = answer.json()
    assert answer.status_code == 201
    assert set(message) == MESSAGE_FIELDS
    assert {name: message[name] for name in body} == body
    assert re.fullmatch(
        r"msg_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", message["message_id"]
    )
    assert (message["sequence"], message["version"], message["parent_id"]) == (2, 2, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["created_at"])
    assert answer.headers["Location"] == f"/messages/{message['message_id']}"
    assert answer.headers["ETag"] == '"2"'
    assert answer.headers["Consistency-Token"]
    read = await backend.client.get(answer.headers["Location"])
    assert (read.json(), read.headers["ETag"]) == (message, '"2"')


async def test_edit_and_delete(backend: Backend) -> None:
    """An edit takes the next sequence as its version; a deletion hides the message, and repeats quietly."""
    message = await backend.post("c", "a", "처음", mentions=["b"])
    path = f"/messages/{message['message_id']}"
    edit = await backend.client.patch(path, json={"content": "다음"}, headers=user("a"))
    edited = edit.json()
    assert (edit.status_code, edited["content"], edited["mentions"]) == (200, "다음", ["b"])
    assert (edited["sequence"], edited["version"], edit.headers["ETag"]) == (2, 3, '"3"')
    assert edited["updated_at"] > edited["created_at"]
    for _ in range(2):
        gone = await backend.client.delete(path, headers=user("a"))
        assert (gone.status_code, gone.content) == (204, b"")
        assert gone.headers["Consistency-Token"]
    assert (await backend.client.get(path)).status_code == 410
    assert (await backend.client.patch(path, json={"content": "x"}, headers=user("a"))).status_code == 410
    assert await stored(backend) == (1, 4, 4)


async def test_the_channel_owner_deletes_any(backend: Backend) -> None:
    """Whoever made the channel owns it and may delete what others posted."""
    await backend.post("c", "owner", "x")
    other = await backend.post("c", "b", "y")
    gone = await backend.client.delete(f"/messages/{other['message_id']}", headers=user("owner"))
    assert gone.status_code == 204


async def test_the_body_may_say_who_edits(backend: Backend) -> None:
    """`author_id` in the body stands for the header; where both are there and differ, neither acts."""
    message = await backend.post("c", "a", "x")
    path = f"/messages/{message['message_id']}"
    for author, header, status in (("b", None, 403), ("b", "a", 403), ("a", "a", 200), ("a", None, 200)):
        body = {"content": f"{author} {header}", "author_id": author}
        answer = await backend.client.patch(path, json=body, headers=user(header) if header else {})
        assert answer.status_code == status, (author, header)
    only_who = await backend.client.patch(path, json={"author_id": "a"})
    assert only_who.status_code == 400


async def test_if_match(backend: Backend) -> None:
    """A stale or weak tag is 412 and changes nothing; the present one, one of many, or * go through."""
    message = await backend.post("c", "a", "1")
    path = f"/messages/{message['message_id']}"
    for tag, status in [('"9"', 412), ('W/"2"', 412), ('"9", "2"', 200), ('"2"', 412), ("*", 200)]:
        answer = await backend.client.patch(
            path, json={"content": tag}, headers=user("a", **{"If-Match": tag})
        )
        assert answer.status_code == status, tag


async def test_an_edit_that_changes_nothing_is_no_event(backend: Backend) -> None:
    """Asking for what already is answers 200 with the present version."""
    message = await backend.post("c", "a", "same")
    before = await stored(backend)
    answer = await backend.client.patch(
        f"/messages/{message['message_id']}", json={"content": "same"}, headers=user("a")
    )
    assert (answer.status_code, answer.json()) == (200, message)
    assert await stored(backend) == before


async def test_replies(backend: Backend) -> None:
    """A reply names a live message of its channel that is no reply itself; anything else is 400."""
    parent = await backend.post("c", "a", "parent")
    elsewhere = await backend.post("d", "a", "elsewhere")
    reply = await backend.post("c", "b", "reply", parent_id=parent["message_id"])
    assert reply["parent_id"] == parent["message_id"]
    for wrong in (reply["message_id"], elsewhere["message_id"], "msg_unknown"):
        body = {"channel_id": "c", "author_id": "b", "content": "x", "parent_id": wrong}
        answer = await backend.client.post("/messages", json=body)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "parent_id"


BAD_BODIES: list[tuple[bytes, int, str | None]] = [
    (b"", 400, "body"),
    (b"not json", 400, None),
    (b"[]", 400, None),
    (b"null", 400, None),
    (b"{}", 400, "channel_id"),
    (b'{"channel_id": "c", "author_id": "a"}', 400, "content"),
    (b'{"channel_id": 1, "author_id": "a", "content": "x"}', 400, "channel_id"),
    (b'{"channel_id": "", "author_id": "a", "content": "x"}', 400, "channel_id"),
    (b'{"channel_id": "a/b", "author_id": "a", "content": "x"}', 400, "channel_id"),
    (b'{"channel_id": "a\\n", "author_id": "a", "content": "x"}', 400, "channel_id"),
    (b'{"channel_id": "c", "author_id": "a", "content": ""}', 400, "content"),
    (b'{"channel_id": "c", "author_id": "a", "content": "x\\u0000y"}', 400, "content"),
    (b'{"channel_id": "c", "author_id": "a", "content": "\\ud800"}', 400, None),
    (b'{"channel_id": "c", "author_id": "a", "content": "\\ud800 and more"}', 400, None),
    (b'{"channel_id": "c", "author_id": "a", "content": "\\udc00"}', 400, None),
    (b'{"channel_id": "c", "author_id": "a", "content": "\xed\xa0\x80"}', 400, None),
    (b'{"channel_id": "c", "author_id": "a", "content": "\xff"}', 400, None),
    (b'{"channel_id": "c", "author_id": "a", "content": "' + b"x" * 40_001 + b'"}', 400, "content"),
    (b'{"channel_id": "c", "author_id": "a", "content": "' + b"x" * 2 * 1024 * 1024 + b'"}', 413, None),
    (b'{"channel_id": "c", "author_id": "a", "content": "x", "mentions": "b"}', 400, "mentions"),
    (b'{"channel_id": "c", "author_id": "a", "content": "x", "mentions": [1]}', 400, "mentions"),
    (b'{"channel_id": "c", "author_id": "a", "content": "x", "attachments": [{"name": "n", "url": "ftp://x"}]}',
     400, "attachments"),
    (b'{"channel_id": "c", "author_id": "a", "content": "x",'
     b' "attachments": [{"name": "n", "url": "http://x", "size_bytes": "12"}]}',
     400, "attachments[0].size_bytes"),
    (b'{"channel_id": "c", "author_id": "a", "content": "x", "parent_id": "\\u0000"}', 400, "parent_id"),
    (b"[" * 200_000, 400, None),
    (b'{"a":' * 100_000, 400, None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "field"), BAD_BODIES, ids=lambda value: repr(value)[:60])
async def test_bad_input_is_one_problem_and_nothing_stored(
    backend: Backend, body: bytes, status: int, field: str | None
) -> None:
    """Every bad body gets a problem document that names the field where there is one."""
    answer = await backend.client.post(
        "/messages", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["type"]
    assert problem["title"]
    assert problem["detail"]
    if field is not None:
        assert problem["errors"][0]["field"].startswith(field)
    assert await stored(backend) == (0, 0, 0)


async def test_unknown_things(backend: Backend) -> None:
    """Unknown messages, routes and methods are problems as well."""
    client = backend.client
    assert (await client.get("/messages/msg_unknown")).status_code == 404
    assert (await client.patch("/messages/x", json={"content": "y"}, headers=user("a"))).status_code == 404
    assert (await client.delete("/messages/x", headers=user("a"))).status_code == 404
    for answer in (await client.get("/nowhere"), await client.put("/messages")):
        assert answer.status_code in {404, 405}
        assert answer.headers["content-type"].startswith("application/problem+json")
    empty = await client.patch("/messages/x", json={}, headers=user("a"))
    assert empty.status_code == 400


@pytest.mark.parametrize("id_", ["%00", "msg_%00", "%0A", "x" * 500, "..%2F..", "%EB%B0%B0%ED%8F%AC"])
async def test_an_id_that_cannot_be(backend: Backend, id_: str) -> None:
    """Ids of paths that no message can have are not found, by every method, and never reach a database."""
    client, headers = backend.client, user("a")
    assert (await client.get(f"/messages/{id_}")).status_code == 404
    assert (await client.patch(f"/messages/{id_}", json={"content": "x"}, headers=headers)).status_code == 404
    assert (await client.delete(f"/messages/{id_}", headers=headers)).status_code == 404


async def test_odd_headers(backend: Backend) -> None:
    """Headers of any length and content get a refusal, not an error of the server's."""
    message = await backend.post("c", "a", "1")
    path = f"/messages/{message['message_id']}"
    for tag in ("9" * 5_000, '"', "", '"2x"', "²"):
        odd = {**user("a"), b"If-Match": tag.encode()}
        assert (await backend.client.patch(path, json={"content": "x"}, headers=odd)).status_code == 412, tag
    body = {"channel_id": "c", "author_id": "a", "content": "x"}
    for key in ("", "k" * 256):
        answer = await backend.client.post("/messages", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 400


async def test_a_repeated_key_answers_the_first_message(backend: Backend) -> None:
    """The same key and body: 200 and the message as first stored, even after an edit; another body: 422."""
    body = {"channel_id": "c", "author_id": "a", "content": "once"}
    key = {"Idempotency-Key": "k1"}
    first = await backend.client.post("/messages", json=body, headers=key)
    await backend.client.patch(first.headers["Location"], json={"content": "edited"}, headers=user("a"))
    again = await backend.client.post("/messages", json={**body, "mentions": []}, headers=key)
    other = await backend.client.post("/messages", json={**body, "content": "twice"}, headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert again.json() == first.json()
    assert again.headers["ETag"] == first.headers["ETag"]
    another = await backend.client.post("/messages", json={**body, "author_id": "b"}, headers=key)
    assert another.status_code == 201


async def test_a_key_is_what_stands_between_the_blanks(backend: Backend) -> None:
    """Blanks around a header are no part of it, and a key of 255 characters may be of any script."""
    body = {"channel_id": "c", "author_id": "a", "content": "once"}
    keys = [b"k", b" k ", b"k\t", "열".encode() * 255]
    answers = [
        await backend.client.post("/messages", json=body, headers={b"Idempotency-Key": k}) for k in keys
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 201]


async def test_fifty_posts_with_one_key_make_one_message(backend: Backend) -> None:
    """However they meet, one of them stores and all of them answer the same message."""
    body = {"channel_id": "c", "author_id": "a", "content": "once"}
    answers = await asyncio.gather(
        *(backend.client.post("/messages", json=body, headers={"Idempotency-Key": "k"}) for _ in range(50))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["message_id"] for answer in answers}) == 1
    assert await stored(backend) == (1, 2, 2)


async def test_concurrent_writes_leave_no_gap(backend: Backend) -> None:
    """Posts to several channels at once: sequences 1..N without a gap, times that never go back."""
    await asyncio.gather(*(backend.post(f"c{n % 4}", f"u{n % 7}", f"message {n}") for n in range(120)))
    query = select(message_events).order_by(message_events.c.channel_id, message_events.c.sequence)
    async with backend.ports.database.reading() as connection:
        rows = (await connection.execute(query)).all()
    for channel in {row.channel_id for row in rows}:
        events = [decode_stream_event(row.body) for row in rows if row.channel_id == channel]
        assert [event.sequence for event in events] == list(range(1, 32))
        assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
        assert all(isinstance(event, MessageCreated) for event in events[1:])
