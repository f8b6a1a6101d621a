"""What a user has read and has not, on both databases: marks, counts, the inbox."""

from collections.abc import Sequence
from typing import Any

import pytest

from backbone.clock import SystemClock
from backend.queries import unread as unread_module
from notifier.inbox import Inbox
from schemas.events import MessagesEvent
from tests.support.api import ask, delete, edit, field_of, items, make_channel, pages
from tests.support.backend import Backend, user
from tests.support.inboxes import entries
from tests.support.messaging import Talk


async def mark(backend: Backend, who: str, channel_id: str, sequence: int) -> None:
    path = f"/channels/{channel_id}/read"
    marked = await backend.client.put(path, json={"sequence": sequence}, headers=user(who))
    assert (marked.status_code, marked.content) == (204, b"")


async def unread(backend: Backend, who: str) -> dict[str, tuple[int, int, int, int]]:
    """Return unread, mentions, read and last sequence by channel."""
    return {
        each["channel_id"]: (each["unread"], each["mentions"], each["read_sequence"], each["last_sequence"])
        for each in await items(backend, "/unread", who)
    }


async def test_who_may_not(backend: Backend) -> None:
    """Nobody has read nothing, and has no inbox: 401; marks of one are not another's."""
    await make_channel(backend, "c", "a", "b")
    for path in ("/unread", "/notifications"):
        assert (await ask(backend, path)).status_code == 401
    assert (await backend.client.put("/channels/c/read", json={"sequence": 1})).status_code == 401
    assert (await backend.client.post("/notifications/read", json={"up_to": 1})).status_code == 401
    await mark(backend, "a", "c", 2)
    assert await unread(backend, "a") == {"c": (0, 0, 2, 2)}
    assert await unread(backend, "b") == {"c": (0, 0, 0, 2)}
    assert await unread(backend, "someone") == {}


async def test_counts(backend: Backend) -> None:
    """Live messages of others behind the mark, and those that mention the user, or all members."""
    await make_channel(backend, "c", "a", "b")
    await backend.post("c", "a", "own")
    seen = await backend.post("c", "b", "seen", mentions=["a"])
    await mark(backend, "a", "c", seen["sequence"])
    await backend.post("c", "b", "1")
    await backend.post("c", "b", "2", mentions=["x", "a"])
    await backend.post("c", "b", "3", mentions=["@channel"])
    await backend.post("c", "b", "4", mentions=["a", "@channel"])
    await backend.post("c", "b", "5", mentions=["aa", "A", 'a"'])
    await backend.post("c", "a", "own again", mentions=["a"])
    gone = await backend.post("c", "b", "gone", mentions=["a"])
    assert await unread(backend, "a") == {"c": (6, 4, 4, 11)}
    await delete(backend, gone, "b")
    # An edit of what was read makes nothing unread.
    await edit(backend, seen, content="edited")
    assert await unread(backend, "a") == {"c": (5, 3, 4, 13)}
    assert (await unread(backend, "b"))["c"] == (2, 0, 0, 13)
    await mark(backend, "a", "c", 7)
    assert await unread(backend, "a") == {"c": (2, 1, 7, 13)}


@pytest.mark.parametrize("user_id", ["철수", 'quote"d', "back\\slash", "@channel", "100%", "🚀", "x" * 128])
async def test_mentions_of_any_name(backend: Backend, user_id: str) -> None:
    """A mention is of the user whose very id it is."""
    await make_channel(backend, "c", "owner")
    await backend.client.put("/channels/c/read", json={"sequence": 0}, headers=user(user_id))
    await backend.post("c", "owner", "1", mentions=[user_id])
    await backend.post("c", "owner", "2", mentions=[user_id + "x"][:1] if len(user_id) < 128 else ["y"])
    assert await unread(backend, user_id) == {"c": (2, 1, 0, 3)}


async def test_marks(backend: Backend) -> None:
    """A mark only rises, and never beyond the last event; it is no event, and needs no membership."""
    await make_channel(backend, "c", "a")
    for _ in range(3):
        await backend.post("c", "a", "x")
    for sequence, standing in [(2, 2), (1, 2), (0, 2), (3, 3), (2**63 - 1, 4), (4, 4)]:
        await mark(backend, "reader", "c", sequence)
        assert (await unread(backend, "reader"))["c"][2] == standing
    assert (await ask(backend, "/channels/c")).json()["last_sequence"] == 4
    # Without being a member, `@channel` is not meant.
    await backend.post("c", "a", "y", mentions=["@channel"])
    assert await unread(backend, "reader") == {"c": (1, 0, 4, 5)}
    missing = await backend.client.put("/channels/nowhere/read", json={"sequence": 1}, headers=user("a"))
    assert missing.status_code == 404


async def test_whole_numbers(backend: Backend) -> None:
    """However a whole number is written, it is one."""
    await make_channel(backend, "c", "a")
    for written, standing in (("1.0", 1), ("20e-1", 2), ("3E0", 3), ("4", 4)):
        await backend.post("c", "a", "x")
        body = f'{{"sequence": {written}, "other": [{{"x": 0.5}}]}}'
        path, headers = "/channels/c/read", user("reader")
        marked = await backend.client.put(path, content=body, headers=headers)
        assert marked.status_code == 204, marked.text
        assert (await unread(backend, "reader"))["c"][2] == standing


@pytest.mark.parametrize("sequence", [-1, 2**63, 1.5, -1.0, 1e300, 2.0**63, "x", None, True, 10**30])
async def test_bad_marks(backend: Backend, sequence: object) -> None:
    """400 names the field, for channels and for the inbox."""
    await make_channel(backend, "c", "a")
    channel = await backend.client.put("/channels/c/read", json={"sequence": sequence}, headers=user("a"))
    assert field_of(channel) == "sequence"
    inbox = await backend.client.post("/notifications/read", json={"up_to": sequence}, headers=user("a"))
    assert field_of(inbox) == "up_to"


async def test_counting_ends(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is unread, only a channel's newest events are looked at."""
    monkeypatch.setattr(unread_module, "EVENTS_COUNTED_MAX", 3)
    await make_channel(backend, "c", "owner", "a")
    for n in range(4):
        await backend.post("c", "owner", str(n), mentions=["a"])
    assert await unread(backend, "a") == {"c": (3, 3, 0, 6)}
    await mark(backend, "a", "c", 5)
    assert await unread(backend, "a") == {"c": (1, 1, 5, 6)}


async def test_unread_is_paged(backend: Backend) -> None:
    """Channels come by code points, those with nothing unread too; each page counts its own only."""
    ids = ["B", "a", "b", "가", "🚀"]
    for channel_id in reversed(ids):
        await make_channel(backend, channel_id, "owner", "a")
        await backend.post(channel_id, "owner", "x")
    await mark(backend, "a", "b", 3)
    for limit in (1, 2, 5):
        found = await pages(backend, "/unread", "a", limit=limit)
        assert [(each["channel_id"], each["unread"]) for page in found for each in page] == [
            (channel_id, int(channel_id != "b")) for channel_id in ids
        ]


async def tell(backend: Backend, *events: MessagesEvent) -> None:
    await Inbox(backend.ports.database, SystemClock()).apply(events)


async def inbox(backend: Backend, **parameters: Any) -> list[tuple[int, str | None]]:
    return [
        (each["seq"], each["body"]) for each in await items(backend, "/notifications", "철수", **parameters)
    ]


async def filled(backend: Backend) -> Sequence[MessagesEvent]:
    """Six notifications of 철수's, 1 to 6; the third is taken back by the seventh entry."""
    await make_channel(backend, "c", "author")
    talk = Talk()
    events = [talk.post(f"{n}", ["철수"]) for n in range(1, 7)]
    for event in events:
        await tell(backend, event)
    await tell(backend, talk.delete(events[2].payload.message_id))
    assert len(await entries(backend.ports.database, "철수")) == 7
    return events


async def test_the_inbox(backend: Backend) -> None:
    """Notifications with their numbers, newest first; `after` gives what follows, oldest first."""
    events = await filled(backend)
    newest = [(6, "6"), (5, "5"), (4, "4"), (3, None), (2, "2"), (1, "1")]
    assert await inbox(backend) == newest
    assert await inbox(backend, after=0) == newest[::-1]
    assert await inbox(backend, after=4) == [(5, "5"), (6, "6")]
    assert await inbox(backend, after=99) == []
    for parameters, expected in [({}, newest), ({"after": 1}, newest[-2::-1])]:
        found = await pages(backend, "/notifications", "철수", limit=2, **parameters)
        assert [(each["seq"], each["body"]) for page in found for each in page] == expected
    first = (await items(backend, "/notifications", "철수"))[-1]
    assert first.pop("notification_id").startswith("ntf_")
    assert first.pop("created_at").endswith("Z")
    assert first == {
        "seq": 1, "user_id": "철수", "reason": "mention", "title": "새 멘션", "body": "1", "read_at": None,
        "muted": False, "data": {"message_id": events[0].payload.message_id, "channel_id": "c"},
    }  # fmt: skip
    assert (await items(backend, "/notifications", "철수"))[3]["retracted"] is True
    assert await items(backend, "/notifications", "영희") == []


async def test_reading_the_inbox(backend: Backend) -> None:
    """`unread` ones are neither read nor taken back; a mark never goes back, nor beyond the last entry."""
    await filled(backend)
    assert [seq for seq, _ in await inbox(backend, unread="true")] == [6, 5, 4, 2, 1]
    assert [seq for seq, _ in await inbox(backend, unread="1")] == [6, 5, 4, 2, 1]
    for said in ("false", "0", ""):
        assert [seq for seq, _ in await inbox(backend, unread=said)] == [6, 5, 4, 3, 2, 1]
    for up_to, left in [(4, [6, 5]), (1, [6, 5]), (0, [6, 5]), (2**63 - 1, [])]:
        marked = await backend.client.post("/notifications/read", json={"up_to": up_to}, headers=user("철수"))
        assert (marked.status_code, marked.content) == (204, b"")
        assert [seq for seq, _ in await inbox(backend, unread="true")] == left
        assert [seq for seq, _ in await inbox(backend, unread="true", after=0)] == left[::-1]
    assert all(each["read_at"] for each in await items(backend, "/notifications", "철수"))
    await tell(backend, Talk("d").post("new", ["철수"]))
    assert await inbox(backend, unread="true") == [(8, "new")]


@pytest.mark.parametrize(
    ("query", "field"),
    [("unread=2", "unread"), ("unread=true&unread=true", "unread"), ("unread=TRUE", "unread"),
     ("after=-1", "after"), ("after=", "after"), (f"after={2**63}", "after"), ("after=1&after=1", "after")],
)  # fmt: skip
async def test_bad_parameters_of_the_inbox(backend: Backend, query: str, field: str) -> None:
    """400 names the parameter."""
    assert field_of(await backend.client.get(f"/notifications?{query}", headers=user("a"))) == field
