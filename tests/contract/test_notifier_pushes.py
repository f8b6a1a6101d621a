"""Webhooks over both logs and databases: each at least once, in order, whatever the receiver does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest

from backbone.clock import SystemClock
from backbone.errors import Unavailable
from backbone.health import Health
from backbone.mailbox import Mailbox
from backbone.settings import Settings
from notifier.inbox import Inbox
from notifier.senders import Sender
from notifier.senders.first_use import used_since_ms
from notifier.senders.pushing import Pushing
from notifier.senders.replaying import pushes_of
from notifier.senders.webhook import WebhookSender
from schemas.events import MessagesEvent
from tests.conftest import ADAPTERS
from tests.support.inboxes import add_channel
from tests.support.messaging import Talk
from tests.support.parking import letters
from tests.support.receiver import KEY, OK, Received, Receiver, Reply, listening
from tests.support.relaying import Stores, drain, own_stores
from tests.support.waiting import until

PATIENCE_S = 30


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Stores]:
    """A database and a log of the test's own."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_stores(settings, unique) as own:
        yield own


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes what comes."""
    async with listening(Receiver()) as receiver:
        yield receiver


class Moments:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Way:
    """The stores, and the members of the group that the test has made."""

    def __init__(self, stores: Stores, receiver: Receiver) -> None:
        self.stores = stores
        self.receiver = receiver
        self.clock = SystemClock()
        self.moments = Moments()
        self.mailbox = Mailbox(stores.database, self.clock)
        self._members: list[Pushing] = []

    def sender(self, within_s: float = 1.0) -> Sender:
        return WebhookSender(self.receiver.url, [KEY], self.clock, within_s=within_s)

    def member(self, since_ms: int = 0) -> Pushing:
        """Return a new member of the group; the way out is used since `since_ms`."""
        member = Pushing(
            self.stores.eventlog, self.sender(), self.mailbox, Health(), since_ms, now_s=self.moments
        )
        self._members.append(member)
        return member

    async def tell(self, events: Sequence[MessagesEvent]) -> None:
        """Put events into inboxes, and tell the log of them."""
        for event in events:
            await Inbox(self.stores.database, self.clock).apply([event])
        await drain(self.stores.database, self.stores.eventlog, "notifications", Health())

    async def push_until(self, member: Pushing, user_id: str, count: int) -> None:
        """Step, whatever fails, until so many different ones of a user were taken."""

        async def taken() -> bool:
            with suppress(Unavailable):
                await member.step()
            return len({each.push_id for each in self.receiver.of(user_id)}) >= count

        await until(taken, PATIENCE_S)

    async def close(self) -> None:
        for member in self._members:
            await member.close()


@pytest.fixture
async def way(stores: Stores, receiver: Receiver) -> AsyncIterator[Way]:
    """A way out to the receiver."""
    way = Way(stores, receiver)
    try:
        yield way
    finally:
        await way.close()


async def failing_step(member: Pushing) -> str:
    """Step until a step fails; return what it said."""

    async def said() -> str:
        try:
            await member.step()
        except Unavailable as error:
            return error.detail if error.dependency == "webhook" else ""
        return ""

    return await until(said, PATIENCE_S)


async def test_each_goes_out_signed_and_in_order(way: Way) -> None:
    """Mentions of two users, and what was taken back: each once, signed, under an id of its own."""
    talk = Talk()
    posts = [talk.post(f"{number}번째", ["bora", "chul"]) for number in range(10)]
    await way.tell([*posts, talk.delete(posts[3].payload.message_id)])
    await way.push_until(way.member(), "chul", 10)
    for user_id in ("bora", "chul"):
        told = way.receiver.of(user_id)
        # The text of the deleted one was gone before it could be sent; that it was taken back is told.
        assert [each.seq for each in told] == [1, 2, 3, *range(5, 12)]
        assert [each.text for each in told[:4]] == ["0번째", "1번째", "2번째", "4번째"]
        assert told[-1].json["type"] == "notification.retracted"
        assert told[-1].json["data"]["title"] is None
        assert len({each.push_id for each in told}) == 10
    first = way.receiver.of("bora")[0]
    assert first.json["type"] == "notification.sent"
    assert first.push_id == first.json["data"]["notification_id"]
    assert abs(int(first.headers["webhook-timestamp"]) - way.clock.now_ms() / 1000) < 60
    assert first.headers["content-type"] == "application/json"
    assert all(each.signed_with(KEY) for each in way.receiver.taken)
    assert not first.signed_with(b"another key" * 3)


async def test_cookies_are_not_kept(way: Way) -> None:
    """Given a receiver that sets cookies, no request carries one."""
    way.receiver.then = lambda received: Reply(headers={"Set-Cookie": f"{received.push_id}=1; Path=/"})
    member, talk = way.member(), Talk()
    await way.tell([talk.post(str(number), ["bora"]) for number in range(3)])
    await way.push_until(member, "bora", 3)
    assert all("cookie" not in each.headers for each in way.receiver.of("bora"))


async def test_a_retraction_follows_what_was_pushed(way: Way) -> None:
    """What was pushed and is deleted afterwards is taken back under an id that belongs to it."""
    talk = Talk()
    post = talk.post("사라질 말", ["bora"])
    await way.tell([post])
    member = way.member()
    await way.push_until(member, "bora", 1)
    await way.tell([talk.delete(post.payload.message_id)])
    await way.push_until(member, "bora", 2)
    sent, retracted = way.receiver.of("bora")
    assert (sent.seq, sent.text, retracted.seq, retracted.text) == (1, "사라질 말", 2, None)
    assert retracted.push_id == f"{sent.push_id}_retracted"
    assert retracted.json["data"]["notification_id"] == sent.json["data"]["notification_id"]


async def test_what_was_told_before_its_first_use_is_not_pushed(way: Way) -> None:
    """Given inboxes that are full already, a way out begins with what is told from its first use on."""
    talk = Talk()
    await way.tell([talk.post("옛날 말", ["bora"])])
    await asyncio.sleep(0.002)
    since_ms = await used_since_ms(way.stores.database, way.clock, "webhook")
    await way.tell([talk.post("새 말", ["bora"])])
    assert await used_since_ms(way.stores.database, way.clock, "webhook") == since_ms, (
        "a restart changes it not"
    )
    await way.push_until(way.member(since_ms), "bora", 1)
    assert [(each.seq, each.text) for each in way.receiver.requests] == [(2, "새 말")]


async def test_no_text_goes_to_whoever_lost_the_right(way: Way) -> None:
    """Given a receiver that was down while a member left, the text is not pushed when it is back."""
    await add_channel(way.stores.database, "비밀", private=True, members=["bora"])
    talk = Talk("비밀", private=True)
    await way.tell([talk.post("안에서", ["bora"])])
    async with way.stores.database.writing() as connection:
        await connection.exec_driver_sql("DELETE FROM channel_members WHERE user_id = 'bora'")
    await way.tell([Talk("열린").post("밖에서", ["bora"])])
    await way.push_until(way.member(), "bora", 1)
    assert [each.text for each in way.receiver.requests] == ["밖에서"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(500), "answered 500"),
        (Reply(302, {"location": "http://127.0.0.1:1/"}), "answered 302"),
        (Reply(429), "answered 429"),
        (Reply(hangs=True), "no answer within"),
        (Reply(cut=True), "no answer"),
    ],
    ids=["500", "redirect", "429", "hangs", "cut"],
)
async def test_what_is_not_taken_is_sent_again(way: Way, reply: Reply, said: str) -> None:
    """A receiver that fails twice: nothing is lost, and a repeat has the id and body of the first time."""
    talk = Talk()
    await way.tell([talk.post(f"{number}", ["bora"]) for number in range(5)])
    member = way.member()
    way.receiver.then = lambda received: OK if received.seq < 3 else reply
    detail = await failing_step(member)
    assert said in detail
    assert "of-the-receiver" not in detail, "the URL is not shown"
    assert way.receiver.seqs("bora") == [1, 2]
    way.receiver.then = lambda _received: OK
    await way.push_until(member, "bora", 5)
    assert way.receiver.seqs("bora") == [1, 2, 3, 4, 5], "those that were taken are not sent again"
    tries = [each for each in way.receiver.requests if each.seq == 3]
    assert len(tries) >= 2
    assert len({(each.push_id, each.body) for each in tries}) == 1


async def test_a_receiver_that_is_away_loses_nothing(way: Way) -> None:
    """Given nobody at the port, and another process behind it later: all come, in order, none is parked."""
    talk = Talk()
    await way.tell([talk.post(f"{number}", ["bora", "chul"]) for number in range(20)])
    away = Receiver()
    async with listening(away):
        pass
    way.receiver = away
    member = way.member()
    way.moments.now_s += 10_000
    for _ in range(3):
        await failing_step(member)
        way.moments.now_s += 10_000
    async with listening(away):
        await way.push_until(member, "bora", 20)
        await way.push_until(member, "chul", 20)
    assert away.seqs("bora") == away.seqs("chul") == list(range(1, 21))
    assert await letters(way.stores.eventlog) == []


@pytest.mark.parametrize("status", [429, 503, 410])
async def test_a_receiver_that_asks_for_time_is_left_alone(way: Way, status: int) -> None:
    """Retry-After, and 410: no request before the time has come, then all of them."""
    await way.tell([Talk().post("하나", ["bora"])])
    member = way.member()
    way.receiver.then = lambda _received: Reply(status, {"retry-after": "3600"})
    assert str(status) in await failing_step(member)
    way.receiver.then = lambda _received: OK
    way.moments.now_s += 3599
    assert "left alone" in await failing_step(member)
    assert len(way.receiver.requests) == 1
    way.moments.now_s += 2
    await way.push_until(member, "bora", 1)


async def test_what_is_refused_alone_stops_its_user_alone(way: Way) -> None:
    """A text that the receiver refuses for ever: others go on, its user's wait in the dead letters."""
    talk = Talk()
    await way.tell([talk.post("나쁜 말", ["bora"]), talk.post("나중 말", ["bora"])])
    member = way.member()
    way.receiver.then = lambda received: Reply(400) if received.text == "나쁜 말" else OK
    posted = 0

    async def parked() -> bool:
        nonlocal posted
        # Only what another user gets meanwhile shows that the receiver is there.
        await way.tell([talk.post("좋은 말", ["chul"])])
        posted += 1
        await way.push_until(member, "chul", posted)
        way.moments.now_s += 10
        return len(await letters(way.stores.eventlog)) == 2

    # Each round holds the pauses of what is refused.
    await until(parked, 3 * PATIENCE_S)
    refused = [each for each in way.receiver.requests if each.user_id == "bora"]
    assert {each.text for each in refused} == {"나쁜 말"}, "nothing overtakes what is refused"
    assert len(refused) >= 5
    assert way.moments.now_s >= 60
    assert way.receiver.seqs("chul") == list(range(1, posted + 1)), "in order, each once"


async def test_a_member_that_dies_before_its_commit_repeats(way: Way) -> None:
    """What a former member had sent without committing comes again, under the same ids, in order."""
    talk = Talk()
    await way.tell([talk.post(f"{number}", ["bora"]) for number in range(8)])
    way.receiver.then = lambda received: OK if received.seq < 6 else Reply(hangs=True)
    first = way.member()
    stepping = asyncio.create_task(failing_step(first))
    await until(lambda: _requests(way.receiver, 6), PATIENCE_S)
    stepping.cancel()
    await asyncio.wait({stepping})
    await first.close()
    way.receiver.then = lambda _received: OK
    await way.push_until(way.member(), "bora", 8)
    assert way.receiver.seqs("bora") == [1, 2, 3, 4, 5, *range(1, 9)]
    ids = [each.push_id for each in way.receiver.of("bora")]
    assert ids[:5] == ids[5:10]


async def _requests(receiver: Receiver, count: int) -> bool:
    return len(receiver.requests) >= count


async def test_a_replay_sends_the_same_again(way: Way) -> None:
    """From a number on: the same ids and bodies in order, without what was deleted meanwhile."""
    talk = Talk()
    posts = [talk.post(f"{number}", ["bora", "chul"]) for number in range(6)]
    await way.tell(posts)
    member = way.member()
    await way.push_until(member, "bora", 6)
    await way.tell([talk.delete(posts[3].payload.message_id)])
    await way.push_until(member, "bora", 7)
    first = {each.push_id: each.body for each in way.receiver.of("bora")}
    way.receiver.taken.clear()
    sender = way.sender()
    for push in await pushes_of(way.stores.eventlog, way.mailbox, "bora", 2):
        await sender.send(push)
    await sender.close()
    again: list[Received] = way.receiver.taken
    assert [each.seq for each in again] == [3, 5, 6, 7]
    assert all(first[each.push_id] == each.body for each in again)
    assert await pushes_of(way.stores.eventlog, way.mailbox, "bora", 7) == []
