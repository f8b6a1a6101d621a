"""Many commands at once on both databases: keys, hot channels, two processes, poison, callers that leave."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.settings import Settings
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
from backend.domain.rejections import Conflict, Gone, KeyReused, NotFound, Stale
from backend.domain.state import ChannelState, MessageRecord
from schemas.channels import Membership
from schemas.messages import Attachment
from tests.conftest import ADAPTERS
from tests.support.database import migrated_database
from tests.support.stored import check_stored

CLOCK = SystemClock()


@dataclass
class Processes:
    """Two processes on one database, as far as the database can tell."""

    database: Database
    first: CommandExecutor
    second: CommandExecutor


@pytest.fixture(params=ADAPTERS)
def settings(request: pytest.FixtureRequest) -> Settings:
    chosen: Settings = request.getfixturevalue(f"{request.param}_settings")
    return chosen


@pytest.fixture(params=[256, 1], ids=["groups", "no groups"])
async def processes(
    request: pytest.FixtureRequest, settings: Settings, unique: str
) -> AsyncIterator[Processes]:
    async with migrated_database(settings, unique) as database:
        other = Database(database.url.render_as_string(hide_password=False))
        first, second = (CommandExecutor(at, CLOCK, batch_max=request.param) for at in (database, other))
        yield Processes(database, first, second)
        await other.close()


def post(
    content: str = "x", channel: str = "c", actor: str = "a", key: str | None = None, **more: Any
) -> PostMessage:
    return PostMessage(
        event_id=CLOCK.new_id("evt_"),
        message_id=CLOCK.new_id("msg_"),
        actor_id=actor,
        channel_id=channel,
        content=content,
        idempotency_key=key,
        channel_event_id=CLOCK.new_id("evt_"),
        **more,
    )


async def at_once(commands: Sequence[Command], *executors: CommandExecutor) -> list[Any]:
    """Give the commands to the executors in turn, all before any is answered; return answers and errors."""
    takers: list[Any] = [executor.execute for executor in executors]
    return await asyncio.gather(
        *(takers[place % len(takers)](command) for place, command in enumerate(commands)),
        return_exceptions=True,
    )


@pytest.mark.parametrize("number", [1, 2], ids=["one process", "two processes"])
async def test_fifty_posts_with_one_key(processes: Processes, number: int) -> None:
    """One message and fifty equal answers, one of them as new; another body under the key is refused."""
    executors = [processes.first, processes.second][:number]
    same = [post("같은 글", key="열쇠", mentions=("b",)) for _ in range(50)]
    answers = await at_once(same, *executors)
    assert [type(answer) for answer in answers] == [Posted] * 50, answers
    assert len({answer.message for answer in answers}) == 1
    assert sum(not answer.repeated for answer in answers) == 1
    others = [
        post("다른 글", key="열쇠"),
        post("같은 글", key="열쇠"),
        post("같은 글", key="열쇠", channel="d"),
    ]
    refused = await at_once(others, *executors)
    assert [type(refusal) for refusal in refused] == [KeyReused] * 3
    stored = await check_stored(processes.database)
    assert stored.contents == ["같은 글"]
    assert stored.events.keys() == {"c"}


@pytest.mark.parametrize("number", [1, 2], ids=["one process", "two processes"])
async def test_one_key_with_many_bodies(processes: Processes, number: int) -> None:
    """Of bodies that meet under one key one wins; those like it are answered with it, others refused."""
    executors = [processes.first, processes.second][:number]
    bodies = [post(f"{n % 4}", channel=f"c{n % 4}", key="k") for n in range(40)]
    answers = await at_once(bodies, *executors)
    stored = await check_stored(processes.database)
    [winner] = stored.contents
    for command, answer in zip(bodies, answers, strict=True):
        if command.content == winner:
            assert isinstance(answer, Posted)
            assert answer.message.content == winner
        else:
            assert isinstance(answer, KeyReused)
    assert stored.events.keys() == {f"c{winner}"}, "a refused first post makes no channel"


async def test_keys_that_meet_in_one_group(processes: Processes) -> None:
    """Several keys, each several times, of two authors, beside posts without: each makes one message."""
    commands = [
        post(f"{author}/{key}", "c", author, f"k{key}" if key else None)
        for _ in range(3)
        for author in ("a", "b")
        for key in ("", "1", "2")
    ]
    answers = await at_once(commands, processes.first)
    stored = await check_stored(processes.database)
    assert stored.contents == sorted(["a/1", "a/2", "b/1", "b/2"] + ["a/"] * 3 + ["b/"] * 3)
    assert sum(answer.repeated for answer in answers) == 8


async def test_a_hot_channel_of_two_processes(processes: Processes) -> None:
    """Posts, edits and joins of two processes in one channel: all happen, without a gap; answers are true."""
    commands: list[Command] = [post(f"{n}") for n in range(60)]
    answers = await at_once(commands, processes.first, processes.second)
    ids = [answer.message.message_id for answer in answers]
    changes: list[Command] = []
    for n, id_ in enumerate(ids):
        changes.append(EditMessage(CLOCK.new_id("evt_"), id_, "a", content=f"edited {n}"))
        changes.append(post(f"more {n}"))
        changes.append(PutMember(CLOCK.new_id("evt_"), f"u{n}", "c", f"u{n}", None))
    more = await at_once(changes, processes.first, processes.second)
    stored = await check_stored(processes.database)
    assert len(stored.events["c"]) == 1 + 60 + 180
    edited = [answer for answer in more if isinstance(answer, MessageRecord)]
    assert len(edited) == 60
    for answer in edited:
        row = stored.messages[answer.message.message_id]
        assert (row["version"], row["content"]) == (answer.message.version, answer.message.content)


async def test_many_channels_of_two_processes(processes: Processes) -> None:
    """Groups that lock the same channels in different orders do not wait for each other for ever."""
    chance = random.Random(5)
    commands = [post(f"{n}", f"c{n % 20}") for n in range(200)]
    chance.shuffle(commands)
    answers = await at_once(commands, processes.first, processes.second)
    assert [type(answer) for answer in answers] == [Posted] * 200
    assert len((await check_stored(processes.database)).contents) == 200


async def test_one_of_many_wins(processes: Processes) -> None:
    """Edits over one version, makers of one channel, owners that leave: one wins, the rest hear why."""
    [first] = await at_once([post("before")], processes.first)
    id_ = first.message.message_id
    both = (processes.first, processes.second)
    edits: list[Command] = [
        EditMessage(CLOCK.new_id("evt_"), id_, "a", content=f"{n}", if_match=frozenset({2})) for n in range(8)
    ]
    kinds = sorted(type(answer).__name__ for answer in await at_once(edits, *both))
    assert kinds == sorted([MessageRecord.__name__] + [Stale.__name__] * 7)
    deletions: list[Command] = [DeleteMessage(CLOCK.new_id("evt_"), id_, "a") for _ in range(8)]
    answers = await at_once(deletions, *both)
    assert {answer.message.version for answer in answers} == {4}
    late = await at_once([EditMessage(CLOCK.new_id("evt_"), id_, "a", content="x")], processes.second)
    assert isinstance(late[0], Gone)
    makers: list[Command] = [MakeChannel(CLOCK.new_id("evt_"), f"u{n}", "new", "새", True) for n in range(8)]
    made = await at_once(makers, *both)
    assert sorted(isinstance(answer, Conflict) for answer in made) == [False] + [True] * 7
    owner = next(answer.created_by for answer in made if not isinstance(answer, Conflict))
    await at_once([PutMember(CLOCK.new_id("evt_"), owner, "new", "second", "owner")], processes.first)
    leaving = [RemoveMember(CLOCK.new_id("evt_"), user, "new", user) for user in (owner, "second")]
    left = await at_once(leaving, *both)
    assert sorted(type(answer).__name__ for answer in left) == sorted(["NoneType", "Conflict"])
    stored = await check_stored(processes.database)
    assert [role for (channel, _), (role, _) in stored.members.items() if channel == "new"] == ["owner"]


POISONS: Sequence[tuple[str, Command]] = [
    ("a surrogate in the text", post("\ud800")),
    ("a surrogate in the key", post(key="\udfff")),
    ("a surrogate in an attachment", post(attachments=(Attachment("\ud800", "http://x"),))),
    ("a surrogate in the channel", post(channel="c\ud800")),
    ("a surrogate in the actor", post(actor="\ud800")),
    ("a surrogate in the parent", post(parent_id="\ud800")),
    ("a surrogate in a mention", EditMessage("evt_1", "old", "a", mentions=("\ud800",))),
    ("a surrogate in a message id", DeleteMessage("evt_2", "\ud800", "a")),
    ("a surrogate in a member", PutMember("evt_3", "a", "c", "\ud800")),
    ("a surrogate in a channel's name", MakeChannel("evt_4", "a", "d", "\ud800")),
    ("a surrogate in a reader", MarkRead("\ud800", "c", 1)),
    ("NUL in the text", post("a\0b")),
    ("NUL in the channel", post(channel="c\0")),
    ("NUL in a message id", EditMessage("evt_5", "m\0", "a", content="x")),
    ("NUL in a member", PutMember("evt_6", "a", "c", "\0")),
    ("a number too large", MarkRead("a", "c", 2**70)),
    ("an event that is there already", replace(post(), event_id="evt_old")),
]


@pytest.mark.parametrize(("what", "poison"), POISONS, ids=[what for what, _ in POISONS])
async def test_a_poison_command_harms_no_neighbour(
    settings: Settings, unique: str, what: str, poison: Command
) -> None:
    """What the API would have refused comes to harm alone: neighbours succeed, it is whole or absent."""
    async with migrated_database(settings, unique) as database:
        executor = CommandExecutor(database, CLOCK)
        before = replace(post("before"), event_id="evt_old", message_id="old")
        before_and_after = [before, *(post(f"{n}") for n in range(6))]
        await at_once(before_and_after[:1], executor)
        around: list[Command] = [*before_and_after[1:4], poison, *before_and_after[4:]]
        answers = await at_once(around, executor)
        poisoned = answers.pop(3)
        assert [type(answer) for answer in answers] == [Posted] * 6, answers
        contents = (await check_stored(database)).contents
        assert {command.content for command in before_and_after} <= set(contents)
        if isinstance(poisoned, Exception):
            assert len(contents) == 7
        assert await at_once([post("after")], executor)


@pytest.mark.parametrize("seed", range(4))
async def test_callers_that_leave_at_random_moments(processes: Processes, seed: int) -> None:
    """What was answered is stored; what was given up is whole or absent, first posts and keys included."""
    chance = random.Random(seed)
    commands = [
        post(f"{n}", f"c{n % 6}", f"a{n % 3}", f"k{n}" if chance.random() < 0.5 else None) for n in range(80)
    ]
    executors: list[Any] = [processes.first.execute, processes.second.execute]
    callers = []
    for place, command in enumerate(commands):
        callers.append(asyncio.create_task(executors[place % 2](command)))
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    for caller in chance.sample(callers, 40):
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        caller.cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    await processes.first.close()
    await processes.second.close()
    contents = set((await check_stored(processes.database)).contents)
    for command, answer in zip(commands, answers, strict=True):
        if isinstance(answer, Posted):
            assert command.content in contents
        else:
            assert isinstance(answer, asyncio.CancelledError)
    # Whoever was given up may ask again, under the same key, and there is one message still.
    keyed = [command for command in commands if command.idempotency_key]
    again = await at_once([replace(c, event_id=CLOCK.new_id("evt_")) for c in keyed], processes.first)
    assert not [answer for answer in again if not isinstance(answer, Posted)]


async def test_a_channel_made_in_the_same_group(settings: Settings, unique: str) -> None:
    """A private channel is hidden already from those whose commands follow its making in one transaction."""
    async with migrated_database(settings, unique) as database:
        commands: list[Command] = [
            MakeChannel(CLOCK.new_id("evt_"), "a", "p", "비밀", private=True),
            post("no", "p", "stranger"),
            post("yes", "p", "a"),
            MarkRead("stranger", "p", 1),
            PutMember(CLOCK.new_id("evt_"), "a", "p", "guest", None),
            post("yes too", "p", "guest"),
        ]
        answers = await at_once(commands, CommandExecutor(database, CLOCK))
        kinds = [type(answer) for answer in answers]
        assert kinds == [ChannelState, NotFound, Posted, NotFound, Membership, Posted]
        assert (await check_stored(database)).contents == ["yes", "yes too"]
