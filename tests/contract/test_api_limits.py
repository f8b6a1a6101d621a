"""The API's limits on both databases: who is refused, what is answered then, and that nothing is stored."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import func, select

from backbone.database.tables import channel_reads, inbox_counters, message_events, outbox
from backbone.settings import Settings
from backend.limits import WriteLimit
from schemas.messages import BODY_MAX_BYTES
from tests.conftest import ADAPTERS
from tests.support.backend import Backend, running_backend, user
from tests.support.database import own_database

BURST = 5
RATE_HEADERS = {"ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


@pytest.fixture(params=ADAPTERS)
async def backend(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Backend]:
    """A backend that takes five writes of a user; its limit's clock stands still, so no more follow."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    limit = WriteLimit(rate=1, burst=BURST, now_s=lambda: 0.0)
    async with own_database(settings, unique) as own, running_backend(own, limit) as running:
        yield running


async def counts(backend: Backend) -> tuple[int, ...]:
    """Count the rows that writes leave."""
    async with backend.ports.database.reading() as connection:
        tables = (message_events, outbox, channel_reads, inbox_counters)
        return tuple([int(await connection.scalar(select(func.count()).select_from(t)) or 0) for t in tables])


async def spend(backend: Backend, who: str) -> None:
    """Use up what a user may write at once."""
    for n in range(BURST):
        await backend.post("c", who, str(n))


def check_refused(answer: Response) -> None:
    """It is a 429, and says how long to wait and what the limit is."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/rate-limited"
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["RateLimit-Policy"] == f"{BURST};w={BURST}"
    assert answer.headers["RateLimit-Limit"] == str(BURST)
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["RateLimit-Reset"] == str(BURST)


async def test_who_writes_too_much_is_refused_by_every_route(backend: Backend) -> None:
    """Past the burst each write of the user gets 429 and stores nothing; reads go on, and so do others."""
    await spend(backend, "a")
    message = await backend.post("c", "b", "mine")
    before = await counts(backend)
    path, mine, client = f"/messages/{message['message_id']}", user("a"), backend.client
    for answer in (
        await client.post("/messages", json={"channel_id": "c", "author_id": "a", "content": "x"}),
        await client.patch(path, json={"content": "x"}, headers=mine),
        await client.delete(path, headers=mine),
        await client.post("/channels", json={"name": "x"}, headers=mine),
        await client.put("/channels/c/members/b", headers=mine),
        await client.delete("/channels/c/members/b", headers=mine),
        await client.put("/channels/c/read", json={"sequence": 1}, headers=mine),
        await client.post("/notifications/read", json={"up_to": 1}, headers=mine),
    ):
        check_refused(answer)
    assert await counts(backend) == before
    assert (await client.get(path, headers=mine)).status_code == 200
    assert (await client.patch(path, json={"content": "y"}, headers=user("b"))).status_code == 200


async def test_concurrent_writes_of_one_user_share_the_burst(backend: Backend) -> None:
    """Of many at once as many are stored as the burst has, the others are refused."""
    body = {"channel_id": "c", "author_id": "a", "content": "x"}
    answers = await asyncio.gather(*(backend.client.post("/messages", json=body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * BURST + [429] * (20 - BURST)


async def test_every_write_says_what_is_left(backend: Backend) -> None:
    """Answers to writes carry the limit, refusals included; those to reads and to nobody do not."""
    client = backend.client
    left = []
    for status, answer in (
        (201, await client.post("/messages", json={"channel_id": "c", "author_id": "a", "content": "x"})),
        (404, await client.delete("/messages/msg_unknown", headers=user("a"))),
        (204, await client.put("/channels/c/read", json={"sequence": 1}, headers=user("a"))),
    ):
        assert answer.status_code == status
        left.append(int(answer.headers["RateLimit-Remaining"]))
    assert left == [4, 3, 2]
    nobody = await client.post("/messages", json={"channel_id": "c", "content": "x"})
    for answer in (await client.get("/channels", headers=user("a")), nobody):
        assert not RATE_HEADERS & set(answer.headers)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/msgpack", "nonsense", ""]
)
async def test_a_body_that_is_no_json_is_refused(backend: Backend, content_type: str) -> None:
    """Whatever it holds: 415, and nothing is stored."""
    body = b'{"channel_id": "c", "author_id": "a", "content": "x"}'
    answer = await backend.client.post("/messages", content=body, headers={"content-type": content_type})
    assert answer.status_code == 415, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await counts(backend) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "application/json; charset=utf-8"}, {"content-type": "Application/JSON"}]
)
async def test_json_is_taken_by_any_of_its_names(backend: Backend, headers: dict[str, str]) -> None:
    """Without a content type, too; fields that nobody knows are ignored."""
    body = '{"channel_id": "c", "author_id": "a", "content": "한글", "unknown": 1}'.encode()
    answer = await backend.client.post("/messages", content=body, headers=headers)
    assert (answer.status_code, answer.json()["content"]) == (201, "한글")


async def test_a_body_that_is_too_large_is_not_read(backend: Backend) -> None:
    """Past 1 MiB it is 413 at once, whether its length is told or comes out."""
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b" " * 65_536

    headers = {"content-type": "application/json"}
    answer = await backend.client.post("/messages", content=endless(), headers=headers)
    assert answer.status_code == 413, answer.text
    assert given * 65_536 < 2 * BODY_MAX_BYTES
    told = await backend.client.post("/messages", content=b" " * (BODY_MAX_BYTES + 1), headers=headers)
    assert (told.status_code, told.json()["type"]) == (413, "/problems/too-large")


async def test_heads_are_as_gets(backend: Backend) -> None:
    """HEAD answers with the status and headers of GET and no body, where there is something and where not."""
    message = await backend.post("c", "a", "x")
    for path in (
        f"/messages/{message['message_id']}",
        "/messages/msg_unknown",
        "/messages/search?q=x",
        "/messages/search",
        "/channels",
        "/channels/c/messages",
        "/notifications",
        "/health/ready",
        "/schema/openapi.json",
        "/nowhere",
    ):
        get, head = await backend.client.get(path), await backend.client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert dict(head.headers) == dict(get.headers), path
        assert head.headers["Content-Length"] == str(len(get.content))
    assert (await backend.client.head("/notifications/read")).status_code == 405


async def test_options_and_wrong_methods_name_what_is_allowed(backend: Backend) -> None:
    """OPTIONS answers 204 with `Allow`, another method 405 with the same; HEAD stands beside GET."""
    for path, allowed in {
        "/messages": "OPTIONS, POST",
        "/messages/search": "GET, HEAD, OPTIONS",
        "/messages/x": "DELETE, GET, HEAD, OPTIONS, PATCH",
        "/channels": "GET, HEAD, OPTIONS, POST",
        "/channels/c/members/u": "DELETE, OPTIONS, PUT",
        "/health/live": "GET, HEAD, OPTIONS",
    }.items():
        options = await backend.client.options(path)
        assert (options.status_code, options.headers["Allow"], options.content) == (204, allowed, b"")
        wrong: Any = await backend.client.request("TRACE", path)
        assert (wrong.status_code, wrong.headers["Allow"]) == (405, allowed)
        assert wrong.headers["content-type"] == "application/problem+json"
