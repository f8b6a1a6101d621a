"""Headers of requests on both databases: what says one thing says it once, lists may take several lines."""

import pytest

from tests.support.api import ask, field_of
from tests.support.backend import Backend


@pytest.mark.parametrize("name", ["X-User-Id", "Idempotency-Key", "Origin", "Content-Type", "Host"])
async def test_a_header_that_stands_there_twice(backend: Backend, name: str) -> None:
    """Which of the two counts is not guessed: 400 names the header, and nothing is stored."""
    first, second = {
        "Origin": ("http://localhost:3000", "http://evil.example"),
        "Content-Type": ("application/json", "text/plain"),
        "Host": ("localhost", "evil.example"),
    }.get(name, ("a", "b"))
    answer = await backend.client.post(
        "/messages",
        content=b'{"channel_id": "c", "content": "x", "author_id": "a"}',
        headers=[("Content-Type", "application/json"), (name, first), (name, second)],
    )
    assert field_of(answer) == name
    assert (await ask(backend, "/channels/c")).status_code == 404


async def test_if_match_on_several_lines(backend: Backend) -> None:
    """The lines of a list are one list."""
    message = await backend.post("c", "a", "1")
    for tags, status in [(('"9"', '"8"'), 412), (('"9"', '"2"'), 200)]:
        answer = await backend.client.patch(
            f"/messages/{message['message_id']}",
            json={"content": "x"},
            headers=[("X-User-Id", "a"), *(("If-Match", tag) for tag in tags)],
        )
        assert answer.status_code == status
