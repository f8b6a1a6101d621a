"""What tests of the API ask for again and again: channels with members, and lists with all their pages."""

from typing import Any

from httpx import Response

from tests.support.backend import Backend, user


async def make_channel(
    backend: Backend, channel_id: str, owner: str, *members: str, private: bool = False
) -> None:
    """Make a channel of the owner's, and add the members."""
    body = {"channel_id": channel_id, "name": channel_id, "private": private}
    made = await backend.client.post("/channels", json=body, headers=user(owner))
    assert made.status_code == 201, made.text
    for member in members:
        path = f"{made.headers['Location']}/members/{member}"
        added = await backend.client.put(path, headers=user(owner))
        assert added.status_code == 200, added.text


async def add_member(backend: Backend, who: str, member: str, channel_id: str = "c") -> None:
    """Let someone in."""
    answer = await backend.client.put(f"/channels/{channel_id}/members/{member}", headers=user(who))
    assert answer.status_code == 200, answer.text


async def remove_member(backend: Backend, who: str, member: str, channel_id: str = "c") -> None:
    """Put someone out."""
    answer = await backend.client.delete(f"/channels/{channel_id}/members/{member}", headers=user(who))
    assert answer.status_code == 204, answer.text


async def ask(backend: Backend, path: str, who: str | None = None, **parameters: Any) -> Response:
    """Get a path, as someone or as nobody."""
    return await backend.client.get(path, params=parameters, headers={} if who is None else user(who))


async def items(backend: Backend, path: str, who: str | None = None, **parameters: Any) -> list[Any]:
    """Return a list that is not paged further."""
    answer = await ask(backend, path, who, **parameters)
    assert answer.status_code == 200, answer.text
    assert "Link" not in answer.headers
    found: list[Any] = answer.json()
    return found


async def pages(backend: Backend, path: str, who: str | None = None, **parameters: Any) -> list[list[Any]]:
    """Return all pages of a list, each reached by the link of the one before."""
    found: list[list[Any]] = []
    answer = await ask(backend, path, who, **parameters)
    while True:
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        following = answer.links.get("next")
        if following is None:
            return found
        headers = {} if who is None else user(who)
        answer = await backend.client.get(following["url"], headers=headers)


async def delete(backend: Backend, message: dict[str, Any], who: str) -> None:
    """Delete a message."""
    gone = await backend.client.delete(f"/messages/{message['message_id']}", headers=user(who))
    assert gone.status_code == 204, gone.text


async def edit(backend: Backend, message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Edit a message as its author; return it."""
    path = f"/messages/{message['message_id']}"
    answer = await backend.client.patch(path, json=changes, headers=user(message["author_id"]))
    assert answer.status_code == 200, answer.text
    edited: dict[str, Any] = answer.json()
    return edited


def field_of(answer: Response) -> str:
    """Return the field that a 400 names."""
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    return str(answer.json()["errors"][0]["field"])
