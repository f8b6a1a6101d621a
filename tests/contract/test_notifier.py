"""The inbox on both databases: each mention once, gapless, whatever the order and however often."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.tables import inbox, inbox_counters
from backbone.mailbox import Mailbox
from backbone.settings import Settings
from notifier import announcements
from notifier import inbox as inboxes
from notifier.announcements import Announcer
from notifier.inbox import Inbox
from notifier.memberships import members_at
from schemas.events import MessagesEvent, NotificationRetracted, NotificationSent
from schemas.messages import MENTION_CHANNEL
from tests.conftest import ADAPTERS
from tests.support.database import migrated_database
from tests.support.inboxes import add_channel, add_members, entries, untold
from tests.support.messaging import Talk


@pytest.fixture(params=ADAPTERS)
async def database(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Database]:
    """An empty database."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with migrated_database(settings, unique) as database:
        yield database


class Box:
    """The writers of the inbox: what an event tells, and what is announced of it."""

    def __init__(self, database: Database) -> None:
        self._grown: set[str] = set()
        self._inbox = Inbox(database, SystemClock())
        self._announcer = Announcer(database, SystemClock(), self._grown.update)

    async def apply(self, events: Sequence[MessagesEvent]) -> set[str]:
        """Apply events and announce what they announce; return the users whose inbox grew."""
        self._grown.clear()
        self._grown.update(await self._inbox.apply(events))
        while await self._announcer.step():
            pass
        return set(self._grown)


@pytest.fixture
def box(database: Database) -> Box:
    return Box(database)


async def test_writers_at_once_leave_no_gap_and_no_second_notification(database: Database) -> None:
    """Given eight writers with overlapping batches, each mention is there once and seq is 1..N per user."""
    chance = random.Random(7)
    users = ["a", "B", "나", "é", "🐢", "z"]
    talks = [Talk(f"c{number}") for number in range(4)]
    events: list[MessagesEvent] = []
    expected: dict[str, int] = dict.fromkeys(users, 0)
    for number in range(80):
        mentioned = chance.sample(users, chance.randint(1, 4))
        events.append(chance.choice(talks).post(f"{number}", mentioned))
        for user_id in mentioned:
            expected[user_id] += 1

    async def write() -> None:
        mine = chance.sample(events, len(events))
        writer = Inbox(database, SystemClock())
        for start in range(0, len(mine), 10):
            await writer.apply(mine[start : start + 10])

    await asyncio.gather(*(write() for _ in range(8)))

    for user_id, count in expected.items():
        stored = await entries(database, user_id)
        assert [entry[0] for entry in stored] == list(range(1, count + 1))
        assert len({entry[2] for entry in stored}) == count
    untold_events = await untold(database)
    assert len(untold_events) == sum(expected.values())
    for user_id, count in expected.items():
        of_user = [event.seq for event in untold_events if event.payload.user_id == user_id]
        assert of_user == list(range(1, count + 1)), "the outbox tells them in the order of seq"


@pytest.mark.parametrize("together", [True, False])
async def test_any_order_of_the_topics_leads_to_the_same_set(
    database: Database, box: Box, together: bool
) -> None:
    """Post, edit and deletion in all orders, each twice, in one batch or many: the same notifications."""
    outcomes = set()
    for number, order in enumerate(itertools.permutations(range(3))):
        talk = Talk(f"c{number}")
        post = talk.post("한 번", ["bora", "chul"])
        message_id = post.payload.message_id
        life: list[MessagesEvent] = [
            post,
            talk.edit(message_id, "두 번", ["bora", "dana"]),
            talk.delete(message_id),
        ]
        shuffled = [life[index] for index in (*order, *reversed(order))]
        for batch in [shuffled] if together else [[event] for event in shuffled]:
            await box.apply(batch)
        async with database.reading() as connection:
            query = select(inbox).where(inbox.c.message_id == message_id, inbox.c.kind == "notification")
            rows = list(await connection.execute(query))
        assert all(row.title is None and row.body is None for row in rows)
        outcomes.add(frozenset((row.user_id, row.reason, row.retracted) for row in rows))
    assert outcomes == {frozenset((user_id, "mention", True) for user_id in ("bora", "chul", "dana"))}


async def test_a_retraction_takes_the_text_and_a_number(database: Database, box: Box) -> None:
    """Given a notification that was sent, the deletion empties it and adds an entry; both are told."""
    talk = Talk()
    post = talk.post("지워질 말", ["bora"])
    await box.apply([post])
    gone = talk.delete(post.payload.message_id)
    assert await box.apply([gone]) == {"bora"}
    assert await box.apply([gone, post]) == set()
    message_id = post.payload.message_id
    assert await entries(database, "bora") == [
        (1, "notification", message_id, None, True),
        (2, "retracted", message_id, None, True),
    ]
    sent, retracted = await untold(database)
    assert isinstance(sent, NotificationSent)
    assert isinstance(retracted, NotificationRetracted)
    assert (sent.seq, sent.payload.title, sent.payload.body) == (1, "새 멘션", "지워질 말")
    assert (retracted.seq, retracted.payload.title, retracted.payload.retracted) == (2, None, True)
    assert retracted.payload.notification_id == sent.payload.notification_id
    assert retracted.payload.created_at == sent.payload.created_at


async def test_what_was_read_stays_until_the_message_goes(database: Database, box: Box) -> None:
    """A mention edited away is retracted where it is unread; a deletion takes the text from everyone."""
    talk = Talk()
    post = talk.post("안녕", ["bora", "chul"])
    message_id = post.payload.message_id
    await box.apply([post])
    assert await Mailbox(database, SystemClock()).mark_read("bora", 1) == 1
    await box.apply([talk.edit(message_id, "안녕")])
    assert [entry[-1] for entry in await entries(database, "bora")] == [False]
    assert [entry[-1] for entry in await entries(database, "chul")] == [True, True]
    await box.apply([talk.delete(message_id)])
    assert [entry[-1] for entry in await entries(database, "bora")] == [True, True]
    assert [entry[-1] for entry in await entries(database, "chul")] == [True, True]


async def test_a_private_channel_tells_its_members_alone(database: Database, box: Box) -> None:
    """Outsiders hear nothing of a private channel, by name or by @channel; a replay tells no newcomer."""
    await add_channel(database, "비밀", True, ["author", "bora"])
    talk = Talk("비밀", private=True)
    events = [talk.post("우리끼리", [MENTION_CHANNEL]), talk.post("우리끼리", ["bora", "chul"])]
    assert await box.apply(events) == {"bora"}
    await add_members(database, "비밀", "chul", sequence=4)
    assert await box.apply(events) == set()
    talk.sequence = 4
    assert await box.apply([talk.post("이제 셋", [MENTION_CHANNEL])]) == {"bora", "chul"}
    assert [entry[3] for entry in await entries(database, "chul")] == ["이제 셋"]
    assert await entries(database, "author") == []


async def test_an_event_that_does_not_say_is_looked_up(database: Database, box: Box) -> None:
    """Given events of another writer, without `private`, the channel's own row decides."""
    await add_channel(database, "비밀", True, ["bora"])
    await add_channel(database, "공개", False, ["bora"])
    for channel_id in ("비밀", "공개"):
        event = Talk(channel_id).post("안녕", ["bora", "chul"])
        known_fields = {
            name: getattr(event, name) for name in ("event_id", "timestamp", "sequence", "payload")
        }
        await box.apply([type(event)(**known_fields)])
    assert len(await entries(database, "bora")) == 2
    assert len(await entries(database, "chul")) == 1


async def test_a_channel_of_thousands(database: Database, box: Box) -> None:
    """@channel reaches each of 2,500 members once, more than a statement takes as parameters at a time."""
    members = [f"u{number}" for number in range(2500)]
    await add_channel(database, "전체", False, members)
    talk = Talk("전체", author_id="u0")
    assert await box.apply([talk.post("모두", [MENTION_CHANNEL])]) == set(members[1:])
    async with database.reading() as connection:
        rows = (await connection.execute(select(inbox_counters.c.last_seq))).scalars().all()
    assert list(rows) == [1] * 2499


async def test_an_edit_that_announces_to_many_reaches_who_joined(
    database: Database, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given more were told than one transaction takes, an edit tells who joined; all can be taken back."""
    for module in (announcements, inboxes):
        monkeypatch.setattr(module, "AT_ONCE", 4)
    members = [f"u{number}" for number in range(9)]
    await add_channel(database, "전체", False, members)
    talk = Talk("전체", author_id="u0")
    post = talk.post("모두", [MENTION_CHANNEL])
    message_id = post.payload.message_id
    assert await box.apply([post]) == {*members[1:]}
    await add_members(database, "전체", "late", sequence=talk.sequence)
    assert await box.apply([talk.edit(message_id, "또", [MENTION_CHANNEL, "dana"])]) == {"late", "dana"}
    assert [each[1:] for each in await entries(database, "late")] == [
        ("notification", message_id, "또", False)
    ]
    assert await box.apply([talk.edit(message_id, "아니", [])]) == {*members[1:], "late", "dana"}
    for each in (*members[1:], "late", "dana"):
        assert (await entries(database, each))[-1][1] == "retracted"


async def test_an_announcement_that_fails_keeps_no_other_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two announcements of which the one whose turn it is fails, the other is told after it."""
    for channel_id in ("fails", "works"):
        await add_channel(database, channel_id, False, [f"of_{channel_id}"])
        inbox_of_all = Inbox(database, SystemClock())
        await inbox_of_all.apply([Talk(channel_id).post("모두", [MENTION_CHANNEL], f"msg_{channel_id}")])

    async def failing(connection: AsyncConnection, channel_id: str, *place: Any) -> list[str]:
        if channel_id == "fails":
            raise ValueError("a defect")
        return await members_at(connection, channel_id, *place)

    monkeypatch.setattr(announcements, "members_at", failing)
    announcer = Announcer(database, SystemClock())
    with pytest.raises(ValueError, match="a defect"):
        await announcer.step()
    assert await announcer.step()
    assert len(await entries(database, "of_works")) == 1
    monkeypatch.undo()
    assert await announcer.step()
    assert len(await entries(database, "of_fails")) == 1
