"""The command executor on both databases: groups, neighbours, callers that leave, two processes at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.database.tables import message_events
from backbone.errors import Unavailable
from backbone.health import Health
from backbone.settings import Settings
from backend.commands import executor as executor_module
from backend.commands import transaction
from backend.commands.answers import Posted
from backend.commands.executor import CommandExecutor
from backend.domain.commands import EditMessage, PostMessage
from backend.domain.rejections import Forbidden, Overloaded
from backend.outbox_gauge import OutboxGauge
from schemas.messages import Attachment
from tests.conftest import ADAPTERS
from tests.support.database import own_database


@pytest.fixture(params=ADAPTERS)
async def url(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[str]:
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with own_database(settings, unique) as own:
        yield own.database_url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(url)
    await migrate(opened)
    yield opened
    await opened.close()


CLOCK = SystemClock()


def post(content: str = "x", channel: str = "c", actor: str = "a", key: str | None = None) -> PostMessage:
    return PostMessage(
        event_id=CLOCK.new_id("evt_"),
        message_id=CLOCK.new_id("msg_"),
        actor_id=actor,
        channel_id=channel,
        content=content,
        idempotency_key=key,
        channel_event_id=CLOCK.new_id("evt_"),
    )


async def sequences(database: Database, channel: str) -> list[int]:
    query = select(message_events.c.sequence).where(message_events.c.channel_id == channel)
    async with database.reading() as connection:
        return sorted(await connection.scalars(query))


async def test_a_rejected_command_harms_no_neighbour(database: Database) -> None:
    """Given a stranger's edit in the middle of a group, only the edit is refused."""
    executor = CommandExecutor(database, CLOCK)
    first = await executor.execute(post())
    edit = EditMessage(CLOCK.new_id("evt_"), first.message.message_id, "stranger", content="y")
    results = await asyncio.gather(
        executor.execute(post()), executor.execute(edit), executor.execute(post()), return_exceptions=True
    )
    assert [type(result) for result in results] == [Posted, Forbidden, Posted]


async def test_a_database_that_is_down_is_logged_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for every group that fails: a line in a few seconds, with the number of groups since the last."""
    nowhere = Database("postgresql+asyncpg://maeari@127.0.0.1:9/maeari")
    executor = CommandExecutor(nowhere, CLOCK)
    with capture_logs() as logs:
        for number in range(21):
            if number == 20:
                monkeypatch.setattr(transaction, "_TOLD_EVERY_S", 0.0)
            with pytest.raises(Unavailable):
                await executor.execute(post())
    await nowhere.close()
    told = [entry["groups"] for entry in logs if entry["event"] == "group_tried_one_by_one"]
    assert told == [1, 20]


async def test_a_full_outbox_refuses_before_anything_is_stored(database: Database) -> None:
    """Given as many waiting events as are allowed, writes are refused, and `ready` says why."""
    health = Health("database", "outbox")
    gauge = OutboxGauge(database, 4, health)
    executor = CommandExecutor(database, CLOCK, lambda _command: gauge.require_room())
    for _ in range(3):
        await executor.execute(post())
    assert await gauge.look() == 4
    with pytest.raises(Overloaded):
        await executor.execute(post())
    readiness = health.readiness()
    assert (readiness.ready, readiness.status) == (False, "degraded")
    assert await sequences(database, "c") == [1, 2, 3, 4]


async def test_what_arrives_during_a_commit_shares_the_next(database: Database) -> None:
    """A lone command is committed at once; of many at once, as many as are allowed share a transaction."""
    commits: list[int] = []
    executor = CommandExecutor(
        database, CLOCK, stored=lambda _shards, events: commits.append(events), batch_max=100
    )
    await executor.execute(post())
    assert commits == [2]
    await asyncio.gather(*(executor.execute(post(f"{n}")) for n in range(450)))
    assert commits[1:] == [100, 100, 100, 100, 50]


async def test_without_groups_each_has_its_own_transaction(database: Database) -> None:
    """With groups of one, every command commits alone."""
    commits: list[int] = []
    executor = CommandExecutor(
        database, CLOCK, stored=lambda _shards, events: commits.append(events), batch_max=1
    )
    await executor.execute(post())
    await asyncio.gather(*(executor.execute(post(f"{n}", f"c{n}")) for n in range(20)))
    assert commits == [2] * 21


async def test_large_texts_do_not_pile_up_in_one_transaction(database: Database) -> None:
    """A group ends where its text becomes too much, whatever the number of commands."""
    commits: list[int] = []
    executor = CommandExecutor(database, CLOCK, stored=lambda _shards, events: commits.append(events))
    await executor.execute(post())
    large = "x" * 40_000
    await asyncio.gather(*(executor.execute(post(large)) for _ in range(150)))
    assert commits[1:] == [100, 50]


@pytest.mark.parametrize("limit", ["WAITING_MAX", "WAITING_MAX_CHARACTERS"])
async def test_what_waits_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Beyond the bound, in number or in size, commands are refused; those taken on are carried out."""
    monkeypatch.setattr(executor_module, limit, 20)
    executor = CommandExecutor(database, CLOCK)
    answers = await asyncio.gather(*(executor.execute(post("x")) for _ in range(50)), return_exceptions=True)
    assert [isinstance(answer, Posted) for answer in answers] == [True] * 20 + [False] * 30
    assert {type(answer) for answer in answers[20:]} == {Overloaded}
    assert await sequences(database, "c") == list(range(1, 22))
    assert isinstance(await executor.execute(post()), Posted), "there is room again"


async def test_all_text_of_a_command_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded by everything that a client may write into it, of posts and of edits."""
    monkeypatch.setattr(executor_module, "WAITING_MAX_CHARACTERS", 1_000)
    attachment = Attachment(name="n" * 250, url="https://a.example", content_type="t" * 100)
    executor = CommandExecutor(Database("sqlite+aiosqlite:///nowhere"), CLOCK)
    mentions, attachments = ("m" * 101,) * 10, (attachment,) * 3
    for command in (
        PostMessage("evt_1", "msg_1", "a", "c", "x", mentions),
        PostMessage("evt_1", "msg_1", "a", "c", "x", (), attachments),
        EditMessage("evt_1", "msg_1", "a", mentions=mentions),
        EditMessage("evt_1", "msg_1", "a", attachments=attachments),
    ):
        with pytest.raises(Overloaded):
            await executor.execute(command)
