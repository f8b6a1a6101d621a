"""Sockets on both databases, and whole nodes on both logs: exactly 1..N, on any node, after any absence."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import update

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.tables import inbox_counters
from backbone.eventlog import EventLog, NewRecord
from backbone.health import Health
from backbone.http import bind
from backbone.mailbox import Asked, Mailbox, News
from backbone.settings import Settings
from backbone.wiring import open_eventlog
from notifier.feeds import Feeds
from notifier.hub import Hub
from notifier.inbox import Inbox
from notifier.service import Notifier, serve
from notifier.tail import Tail
from schemas.events import MessagesEvent, encode
from schemas.frames import CLOSE_RESTARTING, NotificationFrame, Read, Retracted
from schemas.topics import ALL_TOPICS, DEAD_LETTERS, MESSAGES_CREATED
from tests.conftest import ADAPTERS
from tests.support.database import migrated_database
from tests.support.eventlog import append, log_site, read_all
from tests.support.inboxes import entries
from tests.support.messaging import Talk, tell
from tests.support.relaying import drain
from tests.support.sockets import PATIENCE_S, Node, node


@pytest.fixture(params=ADAPTERS)
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings of the files, and of the servers."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    return settings


@pytest.fixture
async def database(settings: Settings, unique: str) -> AsyncIterator[Database]:
    """An empty database."""
    async with migrated_database(settings, unique) as database:
        yield database


@pytest.fixture
def box(database: Database) -> Inbox:
    """The writer of the inbox."""
    return Inbox(database, SystemClock())


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


async def test_an_inbox_that_is_numbered_anew_closes_its_sockets(database: Database, box: Inbox) -> None:
    """Given a client of one epoch, another epoch ends its socket with 1012; the next hello tells it."""
    async with node(database) as server:
        await mention(server, box, "bora", "하나")
        async with server.connected("bora", 0) as client:
            assert (await client.hello()).epoch == 1
            assert await client.seqs(1) == [1]
            async with database.writing() as connection:
                await connection.execute(update(inbox_counters).values(epoch=2))
            server.hub.wake(["bora"])
            assert await client.close_code() == CLOSE_RESTARTING
        async with server.connected("bora", 0) as client:
            assert (await client.hello()).epoch == 2
            assert await client.seqs(1) == [1]


async def test_resuming_sends_what_was_missed_retractions_too(database: Database, box: Inbox) -> None:
    """Given an absence in which a message was deleted, `after` sends the rest in order, without its text."""
    async with node(database) as server:
        talk = Talk()
        one, post, three = (talk.post(content, ["bora"]) for content in ("하나", "사라질 말", "셋"))
        await box.apply([one, post, three])
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


@pytest.fixture
async def eventlog(settings: Settings) -> AsyncIterator[EventLog]:
    """An empty log with all topics."""
    async with log_site(settings) as site:
        log = site.open()
        await log.apply_topics(ALL_TOPICS, settings.partitions)
        yield log


async def consumed(notifier: Notifier, count: int) -> None:
    """Step until so many records were taken in."""
    async with asyncio.timeout(PATIENCE_S):
        while count > 0:
            count -= await notifier.step()
    assert count == 0, "no record more than was published"


async def test_events_reach_inboxes_and_garbage_is_parked(
    settings: Settings, database: Database, eventlog: EventLog
) -> None:
    """Events in three topics, repeated, beside garbage in another channel: each mention once, each garbage
    parked once, and a record without a value passed over."""
    talk = Talk("공지")
    posts = [talk.post(f"{number}", ["bora"]) for number in range(20)]
    events: list[MessagesEvent] = [*posts, talk.edit(posts[0].payload.message_id, "x", ["bora", "chul"])]
    events += [talk.delete(post.payload.message_id) for post in posts[:5]]
    garbage = [b"", b"\xff", b"{}", b'{"event_type":"message.created"}', None]
    nul = encode(Talk("쓰레기").post("a\0b", ["bora"]))
    unreadable = [NewRecord(MESSAGES_CREATED.name, "쓰레기", "쓰레기", value) for value in (*garbage, nul)]
    await append(eventlog, unreadable)
    await tell(eventlog, events)
    await tell(eventlog, events)

    notifier = Notifier(eventlog, database, SystemClock(), Health("eventlog", "database"), Hub())
    await consumed(notifier, 2 * len(events) + len(garbage) + 1)
    await notifier.close()

    standing = [entry[3] for entry in await entries(database, "bora") if not entry[4]]
    assert sorted(standing, key=str) == sorted(str(number) for number in range(5, 20))
    of_bora = await entries(database, "bora")
    assert [entry[0] for entry in of_bora] == list(range(1, len(of_bora) + 1))
    assert {entry[2] for entry in of_bora} == {post.payload.message_id for post in posts}
    assert all(retracted for *_, retracted in await entries(database, "chul"))
    assert len(await read_all(eventlog, DEAD_LETTERS)) == len(garbage)


async def test_a_node_learns_of_what_another_wrote(
    database: Database, eventlog: EventLog, box: Inbox
) -> None:
    """Given a client on a node that did not write the row, the sent topic wakes it."""
    health = Health("eventlog", "database")
    async with node(database) as other, other.connected("bora", 0) as client:
        tail = Tail(eventlog, other.hub, other.feeds, health)
        await tail.step(0)
        await client.hello()
        talk = Talk()
        await box.apply([talk.post("하나", ["bora"]), talk.post("둘", ["bora"])])
        assert await drain(database, eventlog, "notifications", health) == 2
        seen = 0
        while seen < 2:
            seen += await tail.step()
        assert await client.seqs(2) == [1, 2]
        await tail.close()


async def test_a_node_does_not_look_for_what_it_has_sent(
    database: Database, eventlog: EventLog, box: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a client on the node that wrote the row, the sent topic makes it look for later ones only."""
    looked: list[Collection[Asked]] = []
    after = Mailbox.after

    async def counted(mailbox: Mailbox, asked: Collection[Asked], limit: int) -> Mapping[Asked, News]:
        looked.append(tuple(asked))
        return await after(mailbox, asked, limit)

    monkeypatch.setattr(Mailbox, "after", counted)
    health = Health("eventlog", "database")
    async with node(database) as own, own.connected("bora", 0) as client:
        tail = Tail(eventlog, own.hub, own.feeds, health)
        await tail.step(0)
        await client.hello()
        talk = Talk()
        own.hub.wake(await box.apply([talk.post("하나", ["bora"])]))
        assert await client.seqs(1) == [1]
        looks = len(looked)
        await drain(database, eventlog, "notifications", health)
        assert await tail.step() == 1
        await box.apply([talk.post("둘", ["bora"])])
        await drain(database, eventlog, "notifications", health)
        assert await tail.step() == 1
        assert await client.seqs(1) == [2]
        assert looked[looks:] == [(Asked("bora", 1),)]
        await tail.close()


@asynccontextmanager
async def running(settings: Settings, database: Database, stop: asyncio.Event) -> AsyncIterator[Node]:
    """A whole node: consumer, relay, tail and sockets."""
    with bind("127.0.0.1", 0, "MAEARI_WEBSOCKET_PORT") as listener:
        port = int(listener.getsockname()[1])
        eventlog = open_eventlog(settings)
        health = Health("eventlog", "database")
        serving = asyncio.create_task(
            serve(eventlog, database, SystemClock(), settings, listener, health, stop)
        )
        try:
            yield Node(database, Hub(), Feeds(database), port)
        finally:
            stop.set()
            await serving
            await eventlog.close()


async def test_two_nodes_one_stops(settings: Settings, database: Database, eventlog: EventLog) -> None:
    """Mentions reach the sockets of both nodes; those of one that stops get 1012 and resume on the other."""
    stop_first, stop_second = asyncio.Event(), asyncio.Event()
    talk = Talk("공지")
    async with (
        running(settings, database, stop_first) as first,
        running(settings, database, stop_second) as second,
        first.connected("bora", 0) as leaving,
        second.connected("bora", 0) as staying,
    ):
        await leaving.hello()
        await staying.hello()
        await tell(eventlog, [talk.post(f"{number}", ["bora"]) for number in range(10)])
        assert await leaving.seqs(10) == list(range(1, 11))
        assert await staying.seqs(10) == list(range(1, 11))
        stop_first.set()
        assert await leaving.close_code() == 1012
        await tell(eventlog, [talk.post(f"{number}", ["bora"]) for number in range(10)])
        async with second.connected("bora", 10) as returned:
            await returned.hello()
            assert await returned.seqs(10) == list(range(11, 21))
        assert await staying.seqs(10) == list(range(11, 21))


async def test_a_read_mark_reaches_the_sockets_of_other_nodes(
    settings: Settings, database: Database, eventlog: EventLog
) -> None:
    """Given a user on two nodes, what is read on one, or over REST, is told on the other."""
    talk = Talk("공지")
    async with (
        running(settings, database, asyncio.Event()) as first,
        running(settings, database, asyncio.Event()) as second,
        first.connected("bora", 0) as reading,
        second.connected("bora", 0) as other,
    ):
        await reading.hello()
        await other.hello()
        await tell(eventlog, [talk.post(f"{number}", ["bora"]) for number in range(3)])
        assert await reading.seqs(3) == await other.seqs(3) == [1, 2, 3]
        await reading.say(Read(up_to=2))
        assert await other.frame() == Read(up_to=2)
        await Mailbox(database, SystemClock()).mark_read("bora", 3)
        assert await other.frame() == Read(up_to=3)
        assert await reading.frame() == Read(up_to=3)
