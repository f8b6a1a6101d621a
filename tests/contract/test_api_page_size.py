"""Pages of large items on both databases: they end by size, nothing is lost, and little is read."""

from typing import Any

import pytest
from httpx import Response

from backbone.database.bounded import PAGE_MAX_BYTES
from backend.queries.lists import newest_messages
from schemas.messages import CONTENT_MAX_CHARACTERS
from tests.support.api import ask, edit, pages
from tests.support.backend import Backend, user
from tests.support.inboxes import tell_all_stored

# 120 kB in UTF-8; and 40 kB that are 240 kB in JSON.
LARGE = "가" * CONTENT_MAX_CHARACTERS
ESCAPED = "\x01" * CONTENT_MAX_CHARACTERS
MANY = 13


async def thread(backend: Backend, content: str) -> dict[str, Any]:
    """Post MANY replies of that content, which mention bora, and edit the last one as often; return that."""
    parent = await backend.post("c", "a", "parent")
    for n in range(MANY):
        message = await backend.post(
            "c", "a", f"{content[:-2]}{n:2}", mentions=["bora"], parent_id=parent["message_id"]
        )
    for n in range(MANY):
        await edit(backend, message, content=f"{content[:-2]}{n + 50}")
    return message


async def all_pages(backend: Backend, path: str, who: str, **parameters: Any) -> list[Response]:
    """Return the answers of all pages."""
    answers = [await ask(backend, path, who, limit=100, **parameters)]
    while following := answers[-1].links.get("next"):
        answers.append(await backend.client.get(following["url"], headers=user(who)))
    assert all(answer.status_code == 200 for answer in answers)
    return answers


@pytest.mark.parametrize("content", [LARGE, ESCAPED], ids=["large", "escaped"])
async def test_pages_end_by_size(backend: Backend, content: str) -> None:
    """Whatever `limit` says, no page is much over 1 MiB; `Link` leads through all items, once."""
    message = await thread(backend, content)
    await tell_all_stored(backend.ports.database)
    one_bytes = len(content.encode()) * (6 if content is ESCAPED else 1) + 2_000
    lists: list[tuple[str, dict[str, Any], str, int]] = [
        ("/channels/c/messages", {}, "sequence", MANY + 1),
        ("/channels/c/messages", {"after_sequence": 0}, "sequence", MANY + 1),
        ("/channels/c/events", {"after_sequence": 0}, "sequence", 2 * MANY + 2),
        (f"/messages/{message['message_id']}/history", {}, "sequence", MANY + 1),
        (f"/messages/{message['parent_id']}/replies", {}, "sequence", MANY),
        ("/notifications", {}, "seq", MANY),
        ("/notifications", {"after": 0}, "seq", MANY),
        ("/notifications", {"unread": "true"}, "seq", MANY),
    ]
    for path, parameters, key, count in lists:
        answers = await all_pages(backend, path, "bora", **parameters)
        assert len(answers) > 1, path
        for answer in answers:
            assert len(answer.content) < PAGE_MAX_BYTES + one_bytes, path
        for answer in answers[:-1]:
            assert len(answer.content) >= PAGE_MAX_BYTES, path
        places = [item[key] for answer in answers for item in answer.json()]
        assert places in (sorted(places), sorted(places, reverse=True)), path
        assert len(set(places)) == len(places) == count, path


async def test_little_is_read(backend: Backend) -> None:
    """What does not fit into the page does not come from the database either."""
    await thread(backend, LARGE)
    page = await newest_messages(backend.ports.database, "c", "a", None, 100)
    assert page.more
    assert len(page.items) == PAGE_MAX_BYTES // len(LARGE.encode()) + 1


async def test_small_items_fill_their_pages(backend: Backend) -> None:
    """By number a page ends as ever: no `Link` where there is no more, not even for a full page."""
    for n in range(6):
        await backend.post("c", "a", str(n))
    assert [len(page) for page in await pages(backend, "/channels/c/messages", limit=3)] == [3, 3]
    assert [len(page) for page in await pages(backend, "/channels/c/messages", limit=6)] == [6]
    assert await pages(backend, "/channels/c/messages", after_sequence=7) == [[]]
