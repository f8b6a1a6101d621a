"""What was: histories, former states and events of channels, on both databases; deleted things above all."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import select

from backbone.database.tables import message_events
from schemas.clock import format_ms, parse_ms
from schemas.events import decode_stream_event, encode
from tests.support.api import ask, delete, edit, field_of, items, make_channel, pages
from tests.support.backend import Backend, user


async def deleted_message(backend: Backend) -> dict[str, Any]:
    """A message of `author` in the owner's channel: posted with a key, edited, deleted by the owner."""
    await make_channel(backend, "c", "owner", "author", "member")
    body = {
        "channel_id": "c",
        "author_id": "author",
        "content": "비밀번호",
        "mentions": ["member"],
        "attachments": [{"name": "n", "url": "https://files.example/1"}],
    }
    answer = await backend.client.post("/messages", json=body, headers={"Idempotency-Key": "k"})
    message: dict[str, Any] = answer.json()
    await edit(backend, message, content="비밀번호 2")
    await delete(backend, message, "owner")
    return message


async def stored_bodies(backend: Backend) -> list[str]:
    query = select(message_events.c.body).order_by(message_events.c.sequence)
    async with backend.ports.database.reading() as connection:
        return list(await connection.scalars(query))


async def test_who_may_not(backend: Backend) -> None:
    """What was deleted is seen by owners alone: its author and members get 410, or emptied events."""
    message = await deleted_message(backend)
    path = f"/messages/{message['message_id']}"
    for who in ("author", "member", "outsider", None):
        assert (await ask(backend, f"{path}/history", who)).status_code == 410
        for moment in (message["created_at"], "2999-01-01T00:00:00Z"):
            assert (await ask(backend, path, who, as_of=moment)).status_code == 410
        answer = await ask(backend, "/channels/c/events", who)
        assert "비밀번호" not in answer.text
        assert "files.example" not in answer.text
        assert "_hash" not in answer.text
    for who in ("owner", "author", None):
        assert (await ask(backend, path, who)).status_code == 410


async def test_a_history(backend: Backend) -> None:
    """Every event as it was stored, oldest first, paged; of a deleted message for owners."""
    await backend.post("c", "owner", "before")
    message = await backend.post("c", "a", "1", mentions=["b"])
    path = f"/messages/{message['message_id']}/history"
    await backend.post("c", "b", "between")
    for content in ("2", "3"):
        await edit(backend, message, content=content)
    told = await items(backend, path)
    assert [event["event_type"] for event in told] == [
        "message.created",
        "message.updated",
        "message.updated",
    ]
    assert [event["payload"]["content"] for event in told] == ["1", "2", "3"]
    assert [event["sequence"] for event in told] == [3, 5, 6]
    assert [event["payload"]["version"] for event in told] == [3, 5, 6]
    stored = await stored_bodies(backend)
    assert (await ask(backend, path)).text == f"[{stored[2]},{stored[4]},{stored[5]}]"
    await delete(backend, message, "a")
    assert [len(page) for page in await pages(backend, path, "owner", limit=3)] == [3, 1]
    last = (await items(backend, path, "owner"))[-1]
    assert (last["event_type"], last["payload"]["deleted_by"]) == ("message.deleted", "a")
    assert (await ask(backend, "/messages/msg_unknown/history")).status_code == 404


async def test_events_of_a_channel(backend: Backend) -> None:
    """Every event from 1 on without a gap; what was deleted is emptied and says so, except for owners."""
    message = await deleted_message(backend)
    kept = await backend.post("c", "member", "bleibt")
    stored = await stored_bodies(backend)
    assert (await ask(backend, "/channels/c/events", "owner")).text == f"[{','.join(stored)}]"
    for who in ("author", None):
        events = await items(backend, "/channels/c/events", who)
        assert [event["sequence"] for event in events] == list(range(1, len(stored) + 1))
        assert [event.get("redacted", False) for event in events] == [False] * 3 + [True] * 2 + [False] * 2
        created = events[3]
        assert created["event_type"] == "message.created"
        assert created["payload"] == {**message, "content": "", "mentions": [], "attachments": []}
        assert events[5]["payload"]["deleted_by"] == "owner"
        assert events[6]["payload"] == kept
        for event in events:
            decode_stream_event(encode(event))


async def test_events_after_a_sequence(backend: Backend) -> None:
    """`after_sequence` leaves out what is known; pages go on where the last one ended."""
    for number in range(9):
        await backend.post("c", "a", str(number))
    for after in (0, 4, 9, 10, 99, 2**63 - 1):
        found = await pages(backend, "/channels/c/events", after_sequence=after, limit=3)
        sequences = [event["sequence"] for page in found for event in page]
        assert sequences == list(range(after + 1, 11))
        assert all(len(page) == 3 for page in found[:-1])
    for bad in ("-1", "", "x", "1.0", str(2**63), "9" * 30, "٣"):
        for path in ("/channels/c/events", "/channels/c/messages"):
            assert field_of(await ask(backend, path, after_sequence=bad)) == "after_sequence", bad
    assert (await ask(backend, "/channels/nowhere/events")).status_code == 404
    assert field_of(await backend.client.get("/channels/c/events?after_sequence=1&after_sequence=2")) == (
        "after_sequence"
    )


async def test_former_states(backend: Backend) -> None:
    """Between two events it is as the first left it, at an event's very millisecond as that did."""
    message = await backend.post("c", "a", "0", mentions=["b"])
    states = [message]
    for number in range(1, 4):
        states.append(await edit(backend, message, content=str(number)))
        await asyncio.sleep(0.003)
    path = f"/messages/{message['message_id']}"
    for state, following in zip(states, [*states[1:], None], strict=True):
        at_ms = parse_ms(state["updated_at"])
        until_ms = at_ms + 60_000 if following is None else parse_ms(following["updated_at"]) - 1
        for moment_ms in {at_ms, until_ms}:
            answer = await ask(backend, path, as_of=format_ms(moment_ms))
            assert (answer.status_code, answer.json()) == (200, state)
            assert answer.headers["ETag"] == f'"{state["version"]}"'
    created_ms = parse_ms(message["created_at"])
    before = await ask(backend, path, as_of=format_ms(created_ms - 1))
    assert before.status_code == 404
    # A part of a millisecond more is that millisecond still, a part less the one before.
    assert (await ask(backend, path, as_of=message["created_at"].replace("Z", "999Z"))).status_code == 200
    less = format_ms(created_ms - 1).replace("Z", "999Z")
    assert (await ask(backend, path, as_of=less)).status_code == 404


async def test_former_states_of_what_was_deleted(backend: Backend) -> None:
    """Owners see each state, and after the deletion the emptied message with when and by whom."""
    message = await deleted_message(backend)
    path = f"/messages/{message['message_id']}"
    first = await ask(backend, path, "owner", as_of=message["created_at"])
    assert (first.status_code, first.json()) == (200, message)
    last = await ask(backend, path, "owner", as_of="2999-01-01T00:00:00Z")
    assert last.status_code == 200
    gone = (await items(backend, f"{path}/history", "owner"))[-1]["payload"]
    assert last.json() == {
        **message,
        "content": "",
        "mentions": [],
        "attachments": [],
        "version": gone["version"],
        "updated_at": gone["deleted_at"],
        "deleted_at": gone["deleted_at"],
        "deleted_by": "owner",
    }
    assert last.headers["ETag"] == f'"{gone["version"]}"'
    for who in ("owner", "author"):
        early = await ask(backend, path, who, as_of="2000-01-01T00:00:00Z")
        assert early.status_code == 404


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=9)), timezone(-timedelta(hours=3, minutes=30))]
)
async def test_times_as_people_write_them(backend: Backend, zone: timezone) -> None:
    """Any offset, small letters, any fraction of a second, a `+` that was not escaped."""
    message = await backend.post("c", "a", "x")
    path = f"/messages/{message['message_id']}"
    later = datetime.fromtimestamp(parse_ms(message["created_at"]) // 1000 + 120, zone)
    for moment, status in ((later, 200), (later - timedelta(minutes=4), 404)):
        for spec in ("auto", "seconds", "milliseconds", "microseconds"):
            text = moment.isoformat(timespec=spec)
            answers = [
                await ask(backend, path, as_of=text),
                await ask(backend, path, as_of=text.replace("T", "t")),
                await backend.client.get(f"{path}?as_of={text}"),  # a literal `+`: it is read as a blank
            ]
            if zone is UTC:
                answers += [await ask(backend, path, as_of=text.replace("+00:00", z)) for z in ("Z", "z")]
            assert [answer.status_code for answer in answers] == [status] * len(answers), text


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-01-31", "2026-01-31T09:00:00", "2026-01-31 09:00:00Z", "20260131T090000Z",
        "2026-02-30T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T23:60:00Z", "0000-01-01T00:00:00Z",
        "2026-01-31T09:00:00+24:00", "2026-01-31T09:00:00+09:60", "2026-01-31T09:00:00+0900",
        "2026-01-31T09:00:00.Z", "2026-01-31T09Z", "2026-01-31T09:00Z", "2026-01-31T09:00+09:00",
        "2026-W05-6T09:00:00Z", "1769850000000",
        "2026-01-31T09:00:00Z\n",
        "9999-12-31T23:59:59-01:00", "٢026-01-31T09:00:00Z", "2026-01-31T09:00:00Z Z", "\u0000",
    ],
)  # fmt: skip
async def test_times_that_are_none(backend: Backend, text: str) -> None:
    """400 that names `as_of`, whether the message exists or not."""
    message = await backend.post("c", "a", "x")
    for message_id in (message["message_id"], "msg_unknown"):
        assert field_of(await ask(backend, f"/messages/{message_id}", as_of=text)) == "as_of"


async def test_other_parameters_of_a_message(backend: Backend) -> None:
    """A parameter that is not known is passed over, as fields are; one that is given twice is refused."""
    message = await backend.post("c", "a", "x")
    path = f"/messages/{message['message_id']}"
    assert (await ask(backend, path, utm_source="mail")).json() == message
    twice = "as_of=2026-01-31T09:00:00Z&as_of=2026-01-31T09:00:00Z"
    assert field_of(await backend.client.get(f"{path}?{twice}")) == "as_of"
    known = await backend.client.get(path, headers={"If-None-Match": '"2"'})
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", '"2"')
    await edit(backend, message, content="y")
    changed = await backend.client.get(path, headers=user("a", **{"If-None-Match": '"2"'}))
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"3"')
