"""Lists of messages on both databases: of a channel, newest or oldest first, and of a thread."""

from tests.support.api import ask, delete, edit, items, pages
from tests.support.backend import Backend, user


async def test_who_may_not(backend: Backend) -> None:
    """What is not there has no lists: neither messages nor replies."""
    assert (await ask(backend, "/channels/nowhere/messages")).status_code == 404
    assert (await ask(backend, "/channels/nowhere/messages", after_sequence=0)).status_code == 404
    assert (await ask(backend, "/messages/msg_unknown/replies")).status_code == 404
    assert (await ask(backend, "/messages/a%2Fb/replies")).status_code == 404


async def test_messages_of_a_channel(backend: Backend) -> None:
    """Live ones as they are now, newest first, a page each; other channels and deleted ones left out."""
    posted = [await backend.post("c", "a", f"{n}") for n in range(8)]
    await backend.post("d", "a", "elsewhere")
    posted[3] = await edit(backend, posted[3], content="edited")
    await delete(backend, posted.pop(5), "a")
    newest_first = posted[::-1]
    assert await items(backend, "/channels/c/messages") == newest_first
    for limit in (1, 2, 3, 7, 100):
        found = await pages(backend, "/channels/c/messages", limit=limit)
        assert [message for page in found for message in page] == newest_first
        assert len(found) == -(-7 // limit)


async def test_messages_after_a_sequence(backend: Backend) -> None:
    """Those created after it, oldest first; an edit does not bring an older one back."""
    posted = [await backend.post("c", "a", f"{n}") for n in range(8)]
    posted[0] = await edit(backend, posted[0], content="edited")
    await delete(backend, posted.pop(5), "a")
    for after in (0, 1, 2, 5, 9, 10, 50):
        expected = [message for message in posted if message["sequence"] > after]
        for limit in (2, 50):
            found = await pages(backend, "/channels/c/messages", after_sequence=after, limit=limit)
            assert [message for page in found for message in page] == expected


async def test_pages_while_others_write(backend: Backend) -> None:
    """What is posted or deleted between two pages neither repeats nor hides what was there."""
    posted = [await backend.post("c", "a", f"{n}") for n in range(6)]
    first = await ask(backend, "/channels/c/messages", limit=2)
    await backend.post("c", "a", "new")
    await delete(backend, posted[4], "a")
    second = await backend.client.get(first.links["next"]["url"])
    seen = [message["content"] for message in first.json() + second.json()]
    assert seen == ["5", "4", "3", "2"]


async def test_a_channel_without_messages(backend: Backend) -> None:
    """An empty list is no 404."""
    await backend.client.post("/channels", json={"channel_id": "c", "name": "c"}, headers=user("a"))
    assert await items(backend, "/channels/c/messages") == []
    assert await items(backend, "/channels/c/messages", after_sequence=0) == []
    assert await items(backend, "/channels/c/events", after_sequence=1) == []


async def test_a_thread(backend: Backend) -> None:
    """Live replies, oldest first, paged; they stay when what they answer is deleted."""
    parent = await backend.post("c", "a", "parent")
    other = await backend.post("c", "a", "other")
    path = f"/messages/{parent['message_id']}/replies"
    assert await items(backend, path) == []
    replies = []
    for n in range(5):
        replies.append(await backend.post("c", "b", f"{n}", parent_id=parent["message_id"]))
        await backend.post("c", "b", "elsewhere", parent_id=other["message_id"])
    replies[1] = await edit(backend, replies[1], content="edited")
    await delete(backend, replies.pop(2), "b")
    assert await items(backend, path) == replies
    await delete(backend, parent, "a")
    for who in ("a", "b", None):
        found = await pages(backend, path, who, limit=3)
        assert [len(page) for page in found] == [3, 1]
        assert [reply for page in found for reply in page] == replies
    assert await items(backend, f"/messages/{replies[0]['message_id']}/replies") == []
