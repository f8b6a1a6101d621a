"""Who is told follows from how things stood at the event, as the log tells it: members, and threads."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.eventlog import EventLog, NewRecord
from backbone.eventlog.applying import Taken
from backbone.health import Health
from backbone.settings import Settings
from notifier.hub import Hub
from notifier.service import Notifier
from schemas.channels import Channel, Membership
from schemas.clock import format_ms
from schemas.events import (
    ChannelCreated,
    ChannelMemberAdded,
    ChannelMemberRemoved,
    StreamEvent,
    encode,
    event_type,
)
from schemas.messages import MENTION_CHANNEL
from schemas.topics import ALL_TOPICS, MESSAGES_CREATED, TOPIC_OF_EVENT
from tests.conftest import ADAPTERS
from tests.support.database import migrated_database
from tests.support.eventlog import append, log_site, read_all
from tests.support.inboxes import entries, reasons
from tests.support.messaging import MOMENT_MS, Talk

CLOCK = SystemClock()


class Channelling(Talk):
    """A channel that tells of its members, too."""

    def made(self) -> ChannelCreated:
        """Return its first event: the author is in."""
        self.sequence = 0
        moment = format_ms(MOMENT_MS)
        channel = Channel(
            channel_id=self.channel_id,
            name=self.channel_id,
            private=self.private,
            created_by=self.author_id,
            created_at=moment,
        )
        return ChannelCreated(**self._numbered(), payload=channel)

    def let_in(self, user_id: str) -> ChannelMemberAdded:
        """Return the event of somebody who joins."""
        return ChannelMemberAdded(**self._numbered(), payload=self._membership(user_id))

    def put_out(self, user_id: str) -> ChannelMemberRemoved:
        """Return the event of somebody who leaves."""
        return ChannelMemberRemoved(**self._numbered(), payload=self._membership(user_id))

    def _numbered(self) -> dict[str, Any]:
        envelope = self._envelope()
        del envelope["private"]
        return envelope

    def _membership(self, user_id: str) -> Membership:
        return Membership(
            channel_id=self.channel_id,
            user_id=user_id,
            role="member",
            version=self.sequence,
            changed_by=self.author_id,
        )


@pytest.fixture(params=ADAPTERS)
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings of the files, and of the servers."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    return settings


@pytest.fixture
async def eventlog(settings: Settings) -> AsyncIterator[EventLog]:
    """A log with all topics."""
    async with log_site(settings) as site:
        eventlog = site.open()
        await eventlog.apply_topics(ALL_TOPICS, 2)
        yield eventlog


@pytest.fixture
async def database(settings: Settings, unique: str) -> AsyncIterator[Database]:
    """An empty database."""
    async with migrated_database(settings, unique) as database:
        yield database


@asynccontextmanager
async def notifying(eventlog: EventLog, database: Database) -> AsyncIterator[Notifier]:
    """A member of the group."""
    notifier = Notifier(eventlog, database, CLOCK, Health("eventlog", "database"), Hub())
    try:
        yield notifier
    finally:
        await notifier.close()


async def told(eventlog: EventLog, database: Database, events: Sequence[StreamEvent]) -> None:
    """Tell events in this order, and have a notifier take them in."""
    await append(eventlog, [_record(event) for event in events])
    async with notifying(eventlog, database) as notifier:
        taken = 0
        while taken < len(events):
            taken += await notifier.step()


def _record(event: StreamEvent) -> NewRecord:
    channel_id = event.payload.channel_id
    return NewRecord(TOPIC_OF_EVENT[event_type(event)].name, channel_id, channel_id, encode(event))


async def test_members_are_those_at_the_event(eventlog: EventLog, database: Database) -> None:
    """Given that people come and go around two messages, each is told to those who were in when it came."""
    talk = Channelling("비밀", private=True)
    everybody = ["bora", "chul", "dana"]
    events: list[StreamEvent] = [talk.made(), talk.let_in("bora"), talk.let_in("chul")]
    first = talk.post("하나", everybody)
    events += [first, talk.put_out("bora"), talk.let_in("dana")]
    second = talk.post("둘", [MENTION_CHANNEL])
    events += [second, talk.put_out("chul"), talk.let_in("bora")]
    await told(eventlog, database, events)
    one, two = first.payload.message_id, second.payload.message_id
    assert await reasons(database, "bora") == [(one, "mention")]
    assert await reasons(database, "chul") == [(one, "mention"), (two, "mention")]
    assert await reasons(database, "dana") == [(two, "mention")]
    assert await reasons(database, "author") == []


async def test_what_was_written_before_a_message_counts_however_late_it_is_read(
    eventlog: EventLog, database: Database
) -> None:
    """Given a notifier that has read a message, but of its channel nothing yet, its members are told."""
    talk = Channelling("비밀", private=True)
    before: list[StreamEvent] = [talk.made(), *(talk.let_in(f"u{number}") for number in range(40))]
    post = talk.post("모두", [MENTION_CHANNEL, "u3", "outsider"])
    await append(eventlog, [_record(event) for event in [*before, post]])
    async with notifying(eventlog, database) as notifier:
        (read,) = await read_all(eventlog, MESSAGES_CREATED)
        assert await notifier.handle([Taken(read, post)]) == ()
        await notifier.announce()
        for number in range(40):
            assert len(await reasons(database, f"u{number}")) == 1
        assert await reasons(database, "outsider") == []


async def test_a_mention_that_told_nobody_takes_nothing_back(eventlog: EventLog, database: Database) -> None:
    """Given outsiders of an `@channel`, and of a private channel, named later, their mention stands."""
    public, private = Channelling("공개"), Channelling("비밀", private=True)
    events: list[StreamEvent] = [public.made(), public.let_in("chul"), private.made()]
    to_all, secret = public.post("모두", [MENTION_CHANNEL]), private.post("bora", ["bora"])
    message_id, secret_id = to_all.payload.message_id, secret.payload.message_id
    events += [to_all, public.edit(message_id, "아니", []), secret, private.edit(secret_id, "아니", [])]
    events += [public.edit(message_id, "bora", ["bora", "chul"]), private.let_in("bora")]
    events += [private.edit(secret_id, "bora", ["bora"])]
    await told(eventlog, database, events)
    await told(eventlog, database, events[::-1])
    assert {*await reasons(database, "bora")} == {(message_id, "mention"), (secret_id, "mention")}
    assert not any(retracted for *_, retracted in await entries(database, "bora"))
    assert {retracted for *_, retracted in await entries(database, "chul")} == {True}


async def test_a_reply_tells_the_thread(eventlog: EventLog, database: Database) -> None:
    """Given a thread, each reply tells its author and all who wrote in it before, once, and not oneself."""
    talk = Channelling("c", author_id="ann")
    events: list[StreamEvent] = [talk.made()]
    root = talk.post("시작")
    thread = root.payload.message_id
    talk.author_id = "bora"
    one = talk.reply(thread, "하나", ["ann"])
    talk.author_id = "chul"
    two = talk.reply(thread, "둘")
    talk.author_id = "ann"
    three = talk.reply(thread, "셋")
    events += [root, one, two, three, talk.delete(three.payload.message_id)]
    await told(eventlog, database, [*events, *events[1:]])
    first, second, third = (each.payload.message_id for each in (one, two, three))
    assert await reasons(database, "ann") == [(first, "mention"), (first, "reply"), (second, "reply")]
    assert await reasons(database, "bora") == [(second, "reply"), (third, "reply")]
    assert await reasons(database, "chul") == [(third, "reply")]
    assert all(retracted for *_, retracted in await entries(database, "chul"))


async def test_a_reply_in_a_private_channel_tells_those_who_are_still_in(
    eventlog: EventLog, database: Database
) -> None:
    """Whoever wrote in a thread and left the channel hears nothing of it any more."""
    talk = Channelling("비밀", author_id="ann", private=True)
    events: list[StreamEvent] = [talk.made(), talk.let_in("bora"), talk.let_in("chul")]
    talk.author_id = "bora"
    root = talk.post("시작")
    out = talk.put_out("bora")
    talk.author_id = "ann"
    reply = talk.reply(root.payload.message_id, "답")
    talk.author_id = "chul"
    other = talk.reply(root.payload.message_id, "또")
    await told(eventlog, database, [*events, root, out, reply, other])
    assert await reasons(database, "bora") == []
    assert await reasons(database, "ann") == [(other.payload.message_id, "reply")]
