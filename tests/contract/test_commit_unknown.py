"""A connection to PostgreSQL that dies around COMMIT: what was stored is answered as stored, once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.errors import CommitUnknown, Unavailable
from backbone.settings import Settings
from backend.commands import transaction
from backend.commands.answers import Posted
from backend.commands.executor import CommandExecutor
from backend.domain.commands import (
    Command,
    DeleteMessage,
    EditMessage,
    MakeChannel,
    MarkRead,
    PostMessage,
    PutMember,
    RemoveMember,
)
from backend.domain.rejections import Forbidden, NotFound
from backend.domain.state import ChannelState, MessageRecord
from schemas.channels import Membership
from tests.support.database import migrated_database
from tests.support.proxy import Fate, PostgresProxy
from tests.support.stored import check_stored
from tests.support.waiting import until

CLOCK = SystemClock()


class Site:
    """One database: `executor` reaches it through the proxy, `database` directly."""

    def __init__(self, database: Database, proxy: PostgresProxy) -> None:
        self.database = database
        self.proxy = proxy
        self._through = Database(proxy.url)
        self.told: list[tuple[frozenset[int], int]] = []
        self.executor = CommandExecutor(
            self._through, CLOCK, stored=lambda shards, events: self.told.append((shards, events))
        )

    async def gather(self, commands: Sequence[Command]) -> list[Any]:
        """Carry the commands out as one group; return answers and errors."""
        execute: Any = self.executor.execute
        return await asyncio.gather(*map(execute, commands), return_exceptions=True)

    async def waits_for_a_lock(self) -> bool:
        """Say whether somebody in this database waits for what a transaction without an answer holds."""
        query = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with self.database.reading() as connection:
            return bool(await connection.scalar(query))

    async def close(self) -> None:
        await self._through.close()


@pytest.fixture
async def site(real_settings: Settings, unique: str) -> AsyncIterator[Site]:
    async with migrated_database(real_settings, unique) as database:
        url = database.url.render_as_string(hide_password=False)
        async with PostgresProxy.before(url) as proxy:
            made = Site(database, proxy)
            yield made
            await made.close()


def post(content: str, channel: str = "c", actor: str = "a", key: str | None = None) -> PostMessage:
    return PostMessage(
        event_id=CLOCK.new_id("evt_"),
        message_id=CLOCK.new_id("msg_"),
        actor_id=actor,
        channel_id=channel,
        content=content,
        idempotency_key=key,
        channel_event_id=CLOCK.new_id("evt_"),
    )


def posts(number: int, channel: str = "c") -> list[PostMessage]:
    """Return posts, every second of them with a key."""
    return [post(f"{n}", channel, key=f"k{n}" if n % 2 else None) for n in range(number)]


async def stored_once(site: Site, commands: Sequence[PostMessage], answers: Sequence[Any]) -> None:
    """Every post was answered as new, with its own message, and is stored exactly once, without a gap."""
    assert [type(answer) for answer in answers] == [Posted] * len(commands), answers
    assert [answer.message.message_id for answer in answers] == [c.message_id for c in commands]
    assert not any(answer.repeated for answer in answers)
    stored = await check_stored(site.database)
    assert stored.contents == sorted(command.content for command in commands)
    for answer in answers:
        assert stored.messages[answer.message.message_id]["sequence"] == answer.message.sequence
    # The relay hears of every event once, for whatever shards they lie in.
    assert sum(events for _, events in site.told) == sum(map(len, stored.events.values()))


@pytest.mark.parametrize("number", [1, 40])
@pytest.mark.parametrize("fate", [Fate.STORED, Fate.LOST])
@pytest.mark.parametrize("first", [True, False], ids=["makes the channel", "in a channel"])
async def test_a_commit_without_an_answer(site: Site, number: int, fate: Fate, first: bool) -> None:
    """Whether it was stored or not, a group of posts is stored once and answered as stored."""
    before = [] if first else [post("before")]
    answers = await site.gather(before)
    site.proxy.fates.append(fate)
    commands = posts(number)
    answers += await site.gather(commands)
    assert site.proxy.met == [fate]
    await stored_once(site, [*before, *commands], answers)


@pytest.mark.parametrize("number", [1, 40])
@pytest.mark.parametrize("first", [True, False], ids=["makes the channel", "in a channel"])
async def test_a_commit_that_comes_late(site: Site, number: int, first: bool) -> None:
    """The client has gone on and looks for its events: it waits for the locks, and nothing happens twice."""
    before = [] if first else [post("before")]
    answers = await site.gather(before)
    site.proxy.fates.append(Fate.LATE)
    commands = posts(number)
    answering = asyncio.create_task(site.gather(commands))
    await until(site.waits_for_a_lock)
    assert site.proxy.met == [Fate.LATE]
    assert not answering.done()
    site.proxy.let_late_through.set()
    await stored_once(site, [*before, *commands], [*answers, *await answering])


async def test_the_search_for_an_answer_loses_its_answers_too(site: Site) -> None:
    """Cut again and again, whatever became of each commit: once stored, never twice."""
    site.proxy.fates.extend([Fate.LOST, Fate.LOST, Fate.STORED, Fate.LOST, Fate.STORED])
    commands = posts(20)
    answers = await site.gather(commands)
    assert len(site.proxy.met) == 5
    await stored_once(site, commands, answers)


@pytest.mark.parametrize("fate", [Fate.STORED, Fate.LOST])
async def test_nobody_can_be_asked(site: Site, fate: Fate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server stays away: all hear that it is unknown, which asking again with the key finds out."""
    monkeypatch.setattr(transaction, "_LOOK_UPS_MAX", 3)
    site.proxy.fates.append(fate)
    site.proxy.refuses_after_a_cut = True
    commands = [post(f"{n}", key=f"k{n}") for n in range(10)]
    answers = await site.gather(commands)
    assert [type(answer) for answer in answers] == [CommitUnknown] * 10
    site.proxy.refuses_after_a_cut = False
    again = await site.gather([post(f"{n}", key=f"k{n}") for n in range(10)])
    assert [answer.repeated for answer in again] == [fate is Fate.STORED] * 10
    assert (await check_stored(site.database)).contents == sorted(f"{n}" for n in range(10))


@pytest.mark.parametrize("number", [1, 40])
@pytest.mark.parametrize("table", ["channels", "message_events", "outbox", "messages"])
async def test_a_connection_lost_before_the_commit(site: Site, number: int, table: str) -> None:
    """Cut among the inserts: nothing is stored of it; each command is tried again and succeeds."""
    site.proxy.statements_to_cut.append(f"INSERT INTO {table} ")
    commands = posts(number)
    answers = await site.gather(commands)
    assert site.proxy.met == [f"INSERT INTO {table} "]
    await stored_once(site, commands, answers)


async def test_connections_that_died_while_nobody_used_them(site: Site) -> None:
    """Given a pool whose connections a restart of the server took, a lone write succeeds all the same."""
    first = post("1")
    answers = await site.gather([first])
    assert await terminate(site.database, everyone=True) >= 1
    second = post("2")
    answers += await site.gather([second])
    await stored_once(site, [first, second], answers)


@pytest.mark.parametrize("fate", [Fate.STORED, Fate.LOST])
async def test_every_kind_of_command(site: Site, fate: Fate) -> None:
    """Edits, deletions, channels, members and read marks of one group: each is answered as it happened."""
    old = [post(f"{n}") for n in range(3)]
    await site.gather(old)
    await site.gather([PutMember(CLOCK.new_id("evt_"), "a", "c", "leaver", None)])
    site.told.clear()
    edit = EditMessage(CLOCK.new_id("evt_"), old[0].message_id, "a", content="new")
    commands: list[Command] = [
        edit,
        DeleteMessage(CLOCK.new_id("evt_"), old[1].message_id, "a"),
        MakeChannel(CLOCK.new_id("evt_"), "a", "private", "비밀", private=True),
        PutMember(CLOCK.new_id("evt_"), "a", "c", "joiner", "owner"),
        RemoveMember(CLOCK.new_id("evt_"), "leaver", "c", "leaver"),
        EditMessage(CLOCK.new_id("evt_"), old[2].message_id, "stranger", content="no"),
        MarkRead("a", "c", 3),
        post("in private", "private", "stranger"),
        post("in private", "private", "a"),
    ]
    site.proxy.fates.append(fate)
    edited, deleted, made, put, removed, refused, marked, hidden, posted = await site.gather(commands)
    assert site.proxy.met == [fate]
    assert isinstance(edited, MessageRecord)
    assert (edited.message.content, edited.message.version) == ("new", 6)
    assert isinstance(deleted, MessageRecord)
    assert (deleted.deleted, deleted.message.version) == (True, 7)
    assert isinstance(made, ChannelState)
    assert isinstance(put, Membership)
    assert (put.role, put.version) == ("owner", 8)
    assert (removed, marked) == (None, None)
    assert isinstance(refused, Forbidden)
    assert isinstance(hidden, NotFound)
    assert isinstance(posted, Posted)
    stored = await check_stored(site.database)
    assert len(stored.events["c"]) == 9
    assert sum(events for _, events in site.told) == 6
    async with site.database.reading() as connection:
        assert await connection.scalar(text("SELECT sequence FROM channel_reads")) == 3


@pytest.mark.parametrize("fate", [Fate.STORED, Fate.LOST])
async def test_a_group_that_stores_no_event(site: Site, fate: Fate) -> None:
    """Refusals, repeats and read marks lose nothing by a lost answer: they are answered all the same."""
    first = post("1", key="k")
    await site.gather([first])
    site.proxy.fates.append(fate)
    edit = EditMessage(CLOCK.new_id("evt_"), first.message_id, "stranger", content="no")
    again = post("1", key="k")
    repeated, refused, marked = await site.gather([again, edit, MarkRead("a", "c", 2)])
    assert site.proxy.met == [fate]
    assert isinstance(repeated, Posted)
    assert (repeated.repeated, repeated.message.message_id) == (True, first.message_id)
    assert isinstance(refused, Forbidden)
    assert marked is None
    async with site.database.reading() as connection:
        assert await connection.scalar(text("SELECT sequence FROM channel_reads")) == 2


async def test_connections_ended_at_random_under_load(site: Site) -> None:
    """Answered: stored once. Refused for certain: absent. Unknown: whole or absent. Never a gap."""
    stop = asyncio.Event()
    outcomes: list[tuple[PostMessage, Any]] = []

    async def load(actor: int) -> None:
        for number in range(400):
            if stop.is_set():
                return
            command = post(f"{actor}/{number}", f"c{number % 3}", f"a{actor}", f"k{number}")
            outcomes.append((command, (await site.gather([command]))[0]))

    loading = [asyncio.create_task(load(actor)) for actor in range(8)]
    ended = 0
    while ended < 12:
        answered = len(outcomes)
        ended += await terminate(site.database)

        async def gone_on(before: int = answered) -> bool:
            return len(outcomes) > before + 12

        await until(gone_on, every_s=0.005)
    stop.set()
    await asyncio.gather(*loading)
    contents = (await check_stored(site.database)).contents
    assert len(set(contents)) == len(contents), "nothing is stored twice"
    for command, outcome in outcomes:
        if isinstance(outcome, Posted):
            assert command.content in contents
        else:
            assert isinstance(outcome, Unavailable), outcome
            assert isinstance(outcome, CommitUnknown) or command.content not in contents
    answered = sum(isinstance(outcome, Posted) for _, outcome in outcomes)
    assert answered > 0.9 * len(outcomes), "a lost connection is no lost write"


async def terminate(database: Database, *, everyone: bool = False) -> int:
    """End a connection to the database but ours, or every one; return how many were ended."""
    query = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " ORDER BY random() LIMIT :number"
    )
    async with database.reading() as connection:
        return len((await connection.execute(query, {"number": 100 if everyone else 1})).all())
