"""Deletions past the replay horizon, from the database to the state topic, on files and on real servers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select, text, update

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.tables import outbox
from backbone.health import Health
from backbone.outbox import TOMBSTONE
from backbone.outbox_watch import OutboxWatch
from backbone.relay import owned_shard
from backend import horizon
from backend.commands.executor import CommandExecutor
from backend.domain.commands import DeleteMessage, EditMessage, PostMessage
from backend.domain.rejections import Gone
from backend.horizon import Horizon
from rebuilder.record import messages_told
from schemas.states import decode_state
from schemas.topics import DAY_MS, MESSAGES_STATE, REPLAY_HORIZON_MS
from tests.conftest import ADAPTERS
from tests.support.eventlog import read_all
from tests.support.messaging import MOMENT_MS
from tests.support.relaying import Stores, left, own_stores, relaying
from tests.support.waiting import until


class Hand(SystemClock):
    """A clock set by hand."""

    moment_ms = MOMENT_MS

    def now_ms(self) -> int:
        return self.moment_ms


@dataclass
class Writer:
    """Writes as the backend does, by a clock set by hand."""

    stores: Stores
    clock: Hand
    executor: CommandExecutor
    horizon: Horizon

    async def post(self, content: str = "text", channel: str = "일반") -> str:
        """Post; return the message's id."""
        message_id = self.clock.new_id("msg_")
        channel_event_id = self.clock.new_id("evt_")
        await self.executor.execute(
            PostMessage(
                event_id=self.clock.new_id("evt_"),
                message_id=message_id,
                actor_id="a",
                channel_id=channel,
                content=content,
                channel_event_id=channel_event_id,
            )
        )
        return message_id

    async def delete(self, *message_ids: str) -> None:
        for each in message_ids:
            await self.executor.execute(DeleteMessage(self.clock.new_id("evt_"), each, "a"))

    async def states(self) -> list[tuple[str | None, bytes | None]]:
        """Relay everything; return keys and values of the state topic."""
        await self.stores.drain()
        return [(r.key, r.value) for r in await read_all(self.stores.eventlog, MESSAGES_STATE)]


@pytest.fixture(params=ADAPTERS)
async def writer(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Writer]:
    async with own_stores(request.getfixturevalue(f"{request.param}_settings"), unique) as stores:
        clock = Hand()
        executor = CommandExecutor(stores.database, clock)
        yield Writer(stores, clock, executor, Horizon(stores.database, clock))
        await executor.close()


def count() -> float:
    return REGISTRY.get_sample_value("maeari_state_tombstones_total") or 0


async def test_a_deletion_is_a_state_first_and_a_tombstone_past_the_horizon(writer: Writer) -> None:
    """Up to the horizon `deleted: true` is the last record; then one null, in the channel's partition."""
    before = count()
    gone, stays = await writer.post(), await writer.post()
    await writer.delete(gone)
    deleted = (await writer.states())[-1]
    assert deleted[0] == gone
    assert decode_state(deleted[1] or b"").deleted
    # Its time is at least 1 ms after the message's.
    writer.clock.moment_ms += REPLAY_HORIZON_MS + 1
    assert await writer.horizon.step() == 0
    writer.clock.moment_ms += 1
    assert (await writer.horizon.step(), await writer.horizon.step()) == (1, 0)
    assert count() - before == 1
    states = await writer.states()
    assert states[-1] == (gone, None)
    assert [key for key, _ in states].count(gone) == 3
    assert [key for key, _ in states].count(stays) == 1
    records = await read_all(writer.stores.eventlog, MESSAGES_STATE)
    assert len({record.partition for record in records}) == 1
    assert await left(writer.stores.database) == 0


async def test_nothing_follows_a_tombstone(writer: Writer) -> None:
    """A deleted message takes no edit, a second deletion changes nothing: the tombstone stays the last."""
    gone = await writer.post()
    await writer.delete(gone)
    writer.clock.moment_ms += 8 * DAY_MS
    assert await writer.horizon.step() == 1
    with pytest.raises(Gone):
        await writer.executor.execute(EditMessage(writer.clock.new_id("evt_"), gone, "a", content="back"))
    await writer.delete(gone)
    await writer.post("another")
    assert [value for key, value in await writer.states() if key == gone][-1] is None
    assert await writer.horizon.step() == 0


async def test_it_comes_behind_what_still_waits(writer: Writer) -> None:
    """Where the log was down for longer than the horizon, creation and deletion are told first."""
    gone = await writer.post()
    await writer.delete(gone)
    writer.clock.moment_ms += 8 * DAY_MS
    await writer.horizon.step()
    values = [value for key, value in await writer.states() if key == gone]
    assert [value is None or decode_state(value).deleted for value in values] == [False, True, True]
    assert values[-1] is None


async def test_a_channel_that_stands_still_keeps_its_tombstones_behind(writer: Writer) -> None:
    """What the log does not take for longer than the horizon is told in order, the tombstone behind it."""
    gone = await writer.post()
    await writer.delete(gone)
    database = writer.stores.database
    first = outbox.c.position == select(func.min(outbox.c.position)).scalar_subquery()
    async with database.writing() as connection:
        body = await connection.scalar(select(outbox.c.body).where(first))
        await connection.execute(update(outbox).where(first).values(body="no event"))
    await writer.stores.drain()
    writer.clock.moment_ms += 8 * DAY_MS
    assert await writer.horizon.step() == 1
    assert await writer.states() == []
    assert await left(database) == 4
    async with database.writing() as connection:
        await connection.execute(update(outbox).where(first).values(body=body))
    values = [value for key, value in await writer.states() if key == gone]
    assert [value is None or decode_state(value).deleted for value in values] == [False, True, True]
    assert (values[-1], await left(database)) == (None, 0)


async def test_a_backlog_goes_in_batches_while_there_is_room(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch at a time, none while enough rows wait, and each message once."""
    monkeypatch.setattr(horizon, "BATCH_MAX", 2)
    monkeypatch.setattr(horizon, "ROOM_MAX", 3)
    gone = [await writer.post(channel=f"c{n % 3}") for n in range(5)]
    await writer.delete(*gone)
    writer.clock.moment_ms += 8 * DAY_MS
    assert await writer.horizon.step() == 0
    await writer.stores.drain()
    assert [await writer.horizon.step() for _ in range(3)] == [2, 2, 0]
    await writer.stores.drain()
    assert [await writer.horizon.step() for _ in range(2)] == [1, 0]
    assert sorted(key or "" for key, value in await writer.states() if value is None) == sorted(gone)


async def test_several_processes_put_each_tombstone_once(writer: Writer) -> None:
    """Backends that look at the same moment share the work."""
    gone = [await writer.post() for _ in range(20)]
    await writer.delete(*gone)
    writer.clock.moment_ms += 8 * DAY_MS
    others = [Database(writer.stores.settings.database_url) for _ in range(4)]
    put = await asyncio.gather(*(Horizon(each, writer.clock).step() for each in others))
    assert sum(put) == 20
    for each in others:
        await each.close()
    assert sorted(key or "" for key, value in await writer.states() if value is None) == sorted(gone)


async def test_it_runs_beside_the_relay(writer: Writer) -> None:
    """The job wakes the relay that it is given, and ends when it is told to."""
    gone = await writer.post()
    await writer.delete(gone)
    writer.clock.moment_ms += 8 * DAY_MS
    stop = asyncio.Event()
    async with relaying(writer.stores.settings) as running:
        job = Horizon(running.database, writer.clock, lambda shards, _rows: running.relay.wake(shards))
        looking = asyncio.create_task(job.run(stop))

        async def told() -> bool:
            records = await read_all(writer.stores.eventlog, MESSAGES_STATE)
            return bool(records) and (records[-1].key, records[-1].value) == (gone, None)

        await until(told)
        stop.set()
        await looking


async def test_the_outbox_s_age_is_that_of_the_row(writer: Writer) -> None:
    """A tombstone counts from when it was put there, not from the deletion a week ago."""
    gone = await writer.post()
    await writer.delete(gone)
    await writer.stores.drain()
    writer.clock.moment_ms += 8 * DAY_MS
    await writer.horizon.step()
    writer.clock.moment_ms += 2_000
    watch = OutboxWatch(writer.stores.database, "messages", writer.clock)
    assert await watch.look() == 1
    assert watch.waiting_s == 2


async def test_a_log_without_what_got_its_tombstone_is_whole(writer: Writer) -> None:
    """A rebuild from state alone asks for the messages whose state must be there, one from events for all."""
    gone, _stays = await writer.post(), await writer.post()
    await writer.delete(gone)
    writer.clock.moment_ms += 8 * DAY_MS
    await writer.horizon.step()
    await writer.stores.drain()
    assert await messages_told(writer.stores.database, "state") == 1
    assert await messages_told(writer.stores.database, "events") == 2
    assert await messages_told(writer.stores.database, "both") == 2


# What a relay of the revision before asks for: it adds up lengths, and a row without a body has none.
_OLDER_LOOK = text(
    "SELECT event_type FROM (SELECT *, length(body) AS size, sum(length(body))"
    " OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS size_up_to"
    " FROM (SELECT * FROM outbox WHERE lane = 'messages' AND shard = :shard ORDER BY position LIMIT 500) AS f"
    ") AS sized WHERE size_up_to - size <= 4000000 ORDER BY position"
)


async def test_an_older_relay_passes_over_tombstones(writer: Writer) -> None:
    """While processes are replaced one by one, older ones tell their events and leave tombstones alone."""
    gone = await writer.post()
    await writer.delete(gone)
    await writer.stores.drain()
    writer.clock.moment_ms += 8 * DAY_MS
    await writer.horizon.step()
    await writer.post()
    shard = writer.stores.shard_of("일반")
    async with writer.stores.database.looking() as connection:
        seen = list(await connection.scalars(_OLDER_LOOK, {"shard": shard}))
        all_types = list(await connection.scalars(select(outbox.c.event_type).order_by(outbox.c.position)))
    assert (seen, all_types) == (["message.created"], [TOMBSTONE, "message.created"])
    async with owned_shard(
        writer.stores.database, writer.stores.eventlog, "messages", shard, Health("database")
    ) as owned:
        assert owned is not None
        assert await owned.step() == 2
