"""Plain posts are answered without the framework: what it would have answered, word for word.

What a page sends goes through the framework: so the same request is made with an origin and without.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from backbone.errors import CommitUnknown, Unavailable
from backbone.settings import Settings
from backend.api.posting import PlainPosts
from backend.domain.rejections import Overloaded
from backend.limits import WriteLimit
from tests.support.backend import Backend, running_backend

PLAIN: dict[str, Any] = {"channel_id": "ops", "author_id": "bora", "content": "배포를 완료했습니다"}
FILE = {"name": "a", "url": "http://h/a"}
NAMELESS = json.dumps({"channel_id": "ops", "content": "c"}).encode()
JSON = {"Content-Type": "application/json"}
# What differs between two posts, whoever answers them.
_OWN = re.compile(rb'msg_[0-9a-f-]{36}|"(sequence|version)":[0-9]+|[0-9T:.-]{23}Z')
_OWN_HEADERS = {"location", "etag", "consistency-token", "ratelimit-remaining", "ratelimit-reset"}


@pytest.fixture
async def backend(embedded_settings: Settings) -> AsyncIterator[Backend]:
    async with running_backend(embedded_settings, WriteLimit(10_000, 10_000)) as running:
        yield running


def body(**more: Any) -> bytes:
    return json.dumps({**PLAIN, **more}).encode()


async def in_parts() -> AsyncIterator[bytes]:
    whole = body()
    yield whole[:20]
    yield whole[20:]


CASES: list[tuple[str, bytes, dict[str, str]]] = [
    ("plain", body(), JSON),
    ("with a charset", body(), {"Content-Type": "application/json; charset=utf-8"}),
    ("another JSON", body(), {"Content-Type": "application/problem+json"}),
    ("no media type", body(), {}),
    ("not JSON", body(), {"Content-Type": "text/plain"}),
    ("whole", body(mentions=["dan"], attachments=[{**FILE, "size_bytes": 5}]), JSON),
    ("a whole number", body(attachments=[{**FILE, "size_bytes": 5.0}]), JSON),
    ("no body", b"", JSON),
    ("no object", b"[]", JSON),
    ("broken", b'{"channel_id": "ops", ', JSON),
    ("not UTF-8", body().replace(b"ops", b"\xff\xfe"), JSON),
    ("too deep", b"[" * 5_000, JSON),
    ("lone surrogate", body().replace(b"ops", rb"\ud800"), JSON),
    ("NUL", body(content="a\0b"), JSON),
    ("a field missing", json.dumps({"channel_id": "ops"}).encode(), JSON),
    ("another type", body(content=7), JSON),
    ("too long", body(content="x" * 40_001), JSON),
    ("too large", body(content="x" * 1_100_000), JSON),
    ("an event too large", body(content="\x01" * 40_000, mentions=["\U0001f600" * 128] * 100), JSON),
    ("unknown parent", body(parent_id="msg_none"), JSON),
    ("a bad id", body(channel_id="a/b"), JSON),
    ("named by the header", NAMELESS, {**JSON, "X-User-Id": "bora"}),
    ("a name in UTF-8", NAMELESS, {**JSON, "X-User-Id": "보라"}),
    ("nobody", NAMELESS, JSON),
    ("two authors", body(), {**JSON, "X-User-Id": "dan"}),
    ("no user id", body(), {**JSON, "X-User-Id": "a/b"}),
    ("an empty key", body(), {**JSON, "Idempotency-Key": ""}),
    ("a key too long", body(), {**JSON, "Idempotency-Key": "k" * 256}),
    ("another host", body(), {**JSON, "Host": "example.org"}),
]  # fmt: skip


async def both(
    backend: Backend, content: bytes, headers: dict[str, str], path: str = "/messages"
) -> Iterator[httpx.Response]:
    """Return the answers without the framework and with it."""
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    plain = await backend.client.post(path, content=content, headers=raw)
    host = headers.get("Host", "localhost")
    page = {**raw, b"Origin": f"http://{host}".encode()}
    return iter((plain, await backend.client.post(path, content=content, headers=page)))


def told(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Return what must be the same of two answers."""
    own = answer.status_code < 300
    headers = {name: "" if name in _OWN_HEADERS else value for name, value in answer.headers.items()}
    if own:
        headers["content-length"] = ""
    return answer.status_code, headers, _OWN.sub(b"", answer.content) if own else answer.content


@pytest.mark.parametrize(
    ("content", "headers"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_the_answer_is_the_same(backend: Backend, content: bytes, headers: dict[str, str]) -> None:
    first, second = await both(backend, content, headers)
    assert told(first) == told(second)


async def test_most_of_them_are_answered_without(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given all cases, those that are posts are carried out here; the others are handed on."""
    done: list[int] = []
    real = PlainPosts._carry_out

    async def carry_out(self: PlainPosts, *arguments: Any) -> None:
        done.append(1)
        await real(self, *arguments)

    monkeypatch.setattr(PlainPosts, "_carry_out", carry_out)
    taken = []
    for name, content, headers in CASES:
        done.clear()
        await both(backend, content, headers)
        if done:
            taken.append(name)
    assert taken == [
        "plain", "with a charset", "whole", "an event too large", "unknown parent", "named by the header",
        "a name in UTF-8",
    ]  # fmt: skip


async def test_a_key_is_one_key_on_both_ways(backend: Backend) -> None:
    """Given one key, the second way answers what the first one stored, and 422 to another body."""
    headers = {**JSON, "Idempotency-Key": "열쇠"}
    first, second = await both(backend, body(), headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    first, second = await both(backend, body(content="another"), headers)
    assert first.status_code == second.status_code == 422
    assert told(first) == told(second)


async def test_parts_and_queries(backend: Backend) -> None:
    """Given a body that comes in parts, or a query behind the path, it is a post all the same."""
    answer = await backend.client.post("/messages", content=in_parts(), headers=JSON)
    assert answer.status_code == 201, answer.text
    first, second = await both(backend, body(), JSON, "/messages?x=1")
    assert told(first) == told(second)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("database", "it went away"), 503),
        (CommitUnknown("database", "no answer"), 503),
        (Overloaded("too many writes are waiting", retry_after_s=1), 503),
        (RuntimeError("a fault of ours"), 500),
    ],
)
async def test_failures_are_told_alike(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def failing(_command: object) -> None:
        raise error

    monkeypatch.setattr(backend.executor, "execute", failing)
    first, second = await both(backend, body(), JSON)
    assert first.status_code == status
    assert told(first) == told(second)


async def test_who_writes_too_much_is_told_so(embedded_settings: Settings) -> None:
    """Given a burst of two, the third post gets 429 on either way, with when to come again."""
    async with running_backend(embedded_settings, WriteLimit(1, 2)) as backend:
        await both(backend, body(), JSON)
        first, second = await both(backend, body(), JSON)
        assert first.status_code == second.status_code == 429
        assert told(first) == told(second)
        assert first.headers["retry-after"] == "1"
