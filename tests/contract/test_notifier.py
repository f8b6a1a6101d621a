"""The notifier on both databases: each mention once, in order, on any node, after any absence."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import insert, select

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.database.tables import channel_members, channels, inbox, inbox_counters, outbox
from backbone.settings import Settings
from notifier.inbox import Inbox
from schemas.events import MessagesEvent, NotificationRetracted, NotificationSent, decode
from schemas.frames import NotificationFrame, Read, Retracted
from schemas.messages import MENTION_CHANNEL
from tests.conftest import ADAPTERS
from tests.support.database import fresh_database
from tests.support.messaging import Talk
from tests.support.sockets import Node, node


@pytest.fixture(params=ADAPTERS)
async def database(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Database]:
    """An empty database."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with AsyncExitStack() as stack:
        url = settings.database_url
        if request.param == "real":
            url = await stack.enter_async_context(fresh_database(url, unique))
        database = Database(url)
        stack.push_async_callback(database.close)
        await migrate(database)
        yield database


@pytest.fixture
def box(database: Database) -> Inbox:
    """The writer of the inbox."""
    return Inbox(database, SystemClock())


async def entries(database: Database, user_id: str) -> list[tuple[int, str, str, str | None, bool]]:
    """Return a user's inbox: seq, kind, message, body, retracted."""
    columns = inbox.c
    query = select(columns.seq, columns.kind, columns.message_id, columns.body, columns.retracted)
    async with database.reading() as connection:
        rows = await connection.execute(query.where(columns.user_id == user_id).order_by(columns.seq))
        return [(row.seq, row.kind, row.message_id, row.body, row.retracted) for row in rows]


async def told(database: Database) -> list[NotificationSent | NotificationRetracted]:
    """Return the events that wait in the outbox, in order."""
    async with database.reading() as connection:
        rows = list(await connection.execute(select(outbox).order_by(outbox.c.position)))
    events = [decode(row.body) for row in rows]
    assert all(row.lane == "notifications" and row.topic == "notifications.sent" for row in rows)
    assert all(isinstance(event, NotificationSent | NotificationRetracted) for event in events)
    return [event for event in events if isinstance(event, NotificationSent | NotificationRetracted)]


async def add_channel(database: Database, channel_id: str, private: bool, members: Sequence[str]) -> None:
    """Make a channel and its members."""
    channel = {
        "channel_id": channel_id,
        "name": channel_id,
        "private": private,
        "created_by": "author",
        "created_at": 1,
        "last_sequence": 1,
        "last_event_at": 1,
    }
    rows = [{"channel_id": channel_id, "user_id": each, "role": "member", "version": 1} for each in members]
    async with database.writing() as connection:
        await connection.execute(insert(channels), [channel])
        await connection.execute(insert(channel_members), rows)


async def add_member(database: Database, channel_id: str, user_id: str) -> None:
    """Let one more user in."""
    async with database.writing() as connection:
        row = {"channel_id": channel_id, "user_id": user_id, "role": "member", "version": 9}
        await connection.execute(insert(channel_members), [row])


# The inbox.


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
    events_told = await told(database)
    assert len(events_told) == sum(expected.values())
    for user_id, count in expected.items():
        of_user = [event.seq for event in events_told if event.payload.user_id == user_id]
        assert of_user == list(range(1, count + 1)), "the outbox tells them in the order of seq"


@pytest.mark.parametrize("together", [True, False])
async def test_any_order_of_the_topics_leads_to_the_same_set(
    database: Database, box: Inbox, together: bool
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


async def test_a_retraction_takes_the_text_and_a_number(database: Database, box: Inbox) -> None:
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
    sent, retracted = await told(database)
    assert isinstance(sent, NotificationSent)
    assert isinstance(retracted, NotificationRetracted)
    assert (sent.seq, sent.payload.title, sent.payload.body) == (1, "새 멘션", "지워질 말")
    assert (retracted.seq, retracted.payload.title, retracted.payload.retracted) == (2, None, True)
    assert retracted.payload.notification_id == sent.payload.notification_id
    assert retracted.payload.created_at == sent.payload.created_at


async def test_what_was_read_stays_until_the_message_goes(database: Database, box: Inbox) -> None:
    """A mention edited away is retracted where it is unread; a deletion takes the text from everyone."""
    talk = Talk()
    post = talk.post("안녕", ["bora", "chul"])
    message_id = post.payload.message_id
    await box.apply([post])
    async with node(database) as server, server.connected("bora") as client:
        await client.hello()
        await client.say(Read(up_to=1))
        await client.say("{}")
        await client.close_code()
    await box.apply([talk.edit(message_id, "안녕")])
    assert [entry[-1] for entry in await entries(database, "bora")] == [False]
    assert [entry[-1] for entry in await entries(database, "chul")] == [True, True]
    await box.apply([talk.delete(message_id)])
    assert [entry[-1] for entry in await entries(database, "bora")] == [True, True]
    assert [entry[-1] for entry in await entries(database, "chul")] == [True, True]


async def test_a_private_channel_tells_its_members_alone(database: Database, box: Inbox) -> None:
    """Outsiders hear nothing of a private channel, by name or by @channel; a replay tells no newcomer."""
    await add_channel(database, "비밀", True, ["author", "bora"])
    talk = Talk("비밀", private=True)
    events = [talk.post("우리끼리", [MENTION_CHANNEL]), talk.post("우리끼리", ["bora", "chul"])]
    assert await box.apply(events) == {"bora"}
    await add_member(database, "비밀", "chul")
    assert await box.apply(events) == set()
    assert await box.apply([talk.post("이제 셋", [MENTION_CHANNEL])]) == {"bora", "chul"}
    assert [entry[3] for entry in await entries(database, "chul")] == ["이제 셋"]
    assert await entries(database, "author") == []


async def test_an_event_that_does_not_say_is_looked_up(database: Database, box: Inbox) -> None:
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


async def test_a_channel_of_thousands(database: Database, box: Inbox) -> None:
    """@channel reaches each of 2,500 members once, more than a statement takes as parameters at a time."""
    members = [f"u{number}" for number in range(2500)]
    await add_channel(database, "전체", False, members)
    talk = Talk("전체", author_id="u0")
    assert await box.apply([talk.post("모두", [MENTION_CHANNEL])]) == set(members[1:])
    async with database.reading() as connection:
        rows = (await connection.execute(select(inbox_counters.c.last_seq))).scalars().all()
    assert list(rows) == [1] * 2499


# The sockets.


async def mention(server: Node, box: Inbox, user_id: str, *contents: str) -> None:
    """Put notifications into an inbox and tell the node, as the consumer does."""
    talk = Talk()
    server.hub.wake(await box.apply([talk.post(content, [user_id]) for content in contents]))


async def test_without_a_position_only_what_is_new_comes(database: Database, box: Inbox) -> None:
    """Given two old notifications, a client that does not resume gets the third alone."""
    async with node(database) as server:
        await mention(server, box, "bora", "하나", "둘")
        async with server.connected("bora") as client:
            assert (await client.hello()).latest_seq == 2
            await mention(server, box, "bora", "셋")
            (frame,) = await client.entries(1)
    assert isinstance(frame, NotificationFrame)
    assert (frame.seq, frame.notification.body, frame.notification.title) == (3, "셋", "새 멘션")
    assert frame.notification.notification_id.startswith("ntf_")


async def test_resuming_sends_what_was_missed_retractions_too(database: Database, box: Inbox) -> None:
    """Given an absence in which a message was deleted, `after` sends the rest in order, without its text."""
    async with node(database) as server:
        talk = Talk()
        post = talk.post("사라질 말", ["bora"])
        await box.apply([talk.post("하나", ["bora"]), post, talk.post("셋", ["bora"])])
        await box.apply([talk.delete(post.payload.message_id)])
        async with server.connected("bora", 1) as client:
            assert (await client.hello()).latest_seq == 4
            second, third, fourth = await client.entries(3)
        async with server.connected("bora", 99) as ahead:
            await ahead.hello()
            await mention(server, box, "bora", "다섯")
            assert await ahead.seqs(1) == [5], "a position beyond the inbox is taken to be its end"
    assert isinstance(second, NotificationFrame)
    assert (second.seq, second.notification.body, second.notification.retracted) == (2, None, True)
    assert isinstance(third, NotificationFrame)
    assert (third.seq, third.notification.body) == (3, "셋")
    assert fourth == Retracted(seq=4, notification_id=second.notification.notification_id)


async def test_every_socket_of_a_user_gets_everything(database: Database, box: Inbox) -> None:
    """Two sockets of one user get each entry; what one reads, the other is told, and nobody else."""
    async with (
        node(database) as server,
        server.connected("보라", 0) as one,
        server.connected("보라", 0) as other,
        server.connected("철수", 0) as stranger,
    ):
        for client in (one, other, stranger):
            await client.hello()
        await mention(server, box, "보라", "하나", "둘")
        assert [await client.seqs(2) for client in (one, other)] == [[1, 2], [1, 2]]
        await one.say(Read(up_to=1))
        assert await other.frame() == Read(up_to=1)
        await other.say(Read(up_to=2))
        assert await one.frame() == Read(up_to=2)
        await one.say(Read(up_to=1))
        await mention(server, box, "보라", "셋")
        await mention(server, box, "철수", "하나")
        assert [await client.seqs(1) for client in (one, other, stranger)] == [[3], [3], [1]]


async def test_reconnecting_at_random_gives_exactly_one_to_n(database: Database, box: Inbox) -> None:
    """Clients that come and go on two nodes while mentions arrive each end with 1..N, in order."""
    total = 120

    async def write(servers: Sequence[Node]) -> None:
        talk, chance = Talk(), random.Random(3)
        left = total
        while left:
            size = min(left, chance.randint(1, 9))
            grown = await box.apply([talk.post("말", ["bora"]) for _ in range(size)])
            for server in servers:
                server.hub.wake(grown)
            left -= size

    async def listen(servers: Sequence[Node], seed: int) -> list[int]:
        chance = random.Random(seed)
        seen: list[int] = []
        while len(seen) < total:
            last = seen[-1] if seen else 0
            async with chance.choice(servers).connected("bora", last) as client:
                await client.hello()
                wanted = min(chance.randint(1, 40), total - len(seen))
                seen += await client.seqs(wanted)
        return seen

    async with node(database) as first, node(database) as second:
        servers = [first, second]
        results = await asyncio.gather(write(servers), *(listen(servers, seed) for seed in range(8)))
    assert [seen for seen in results if seen is not None] == [list(range(1, total + 1))] * 8
