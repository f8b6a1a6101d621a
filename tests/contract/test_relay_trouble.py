"""Rows that the log does not take, and a log that is down: who waits, who goes on, and who is told."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from backbone.clock import SystemClock
from backbone.database.tables import outbox
from backbone.eventlog import MAX_RECORD_BYTES
from backbone.health import Health
from backbone.outbox_watch import OutboxWatch
from backbone.relay import OwnedShard, owned_shard
from backbone.settings import Settings
from schemas.topics import ALL_TOPICS, MESSAGES_CREATED
from tests.conftest import ADAPTERS
from tests.support.eventlog import configure
from tests.support.messaging import MOMENT_MS, Talk
from tests.support.relaying import Stores, left, nothing_left, own_stores, put, relaying, told_by_channel
from tests.support.waiting import until

HUGE = "x" * MAX_RECORD_BYTES
NEVER_S = 3600.0


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Stores]:
    async with own_stores(request.getfixturevalue(f"{request.param}_settings"), unique) as opened:
        yield opened


@pytest.fixture
async def real_stores(real_settings: Settings, unique: str) -> AsyncIterator[Stores]:
    async with own_stores(real_settings, unique) as opened:
        yield opened


def talks_of_one_shard(stores: Stores, number: int) -> list[Talk]:
    names = [f"c{n}" for n in range(200)]
    return [Talk(name) for name in names if stores.shard_of(name) == stores.shard_of("c0")][:number]


async def stepped(stores: Stores, health: Health, retry_after_s: float) -> None:
    """Own the shard for a while, as a process would: until it has nothing more to tell."""
    shard = stores.shard_of("c0")
    owning = owned_shard(
        stores.database, stores.eventlog, "messages", shard, health, retry_after_s=retry_after_s
    )
    async with owning as owned:
        assert owned is not None
        await all_steps(owned)


async def all_steps(owned: OwnedShard) -> None:
    while await owned.step():
        pass


async def waiting(stores: Stores) -> Sequence[str]:
    """Return the keys of the rows that the outbox holds, in the order of their positions."""
    async with stores.database.reading() as connection:
        return (
            (await connection.execute(select(outbox.c.ordering_key).order_by(outbox.c.position)))
            .scalars()
            .all()
        )


def stopped_keys() -> float | None:
    return REGISTRY.get_sample_value("maeari_outbox_stopped_keys", {"lane": "messages"})


async def test_a_row_too_large_stops_its_channel_only(stores: Stores) -> None:
    """What is before it is told, it and what is behind it stay in order; it is reported once."""
    stuck, free = talks_of_one_shard(stores, 2)
    health = Health("database")
    rows = [stuck.post("1"), free.post("1"), stuck.post(HUGE), stuck.post("3"), free.post("2")]
    await put(stores.database, rows)
    shard = stores.shard_of("c0")
    with capture_logs() as logs:
        async with owned_shard(stores.database, stores.eventlog, "messages", shard, health) as owned:
            assert owned is not None
            await all_steps(owned)
            await put(stores.database, [stuck.post("4"), free.post("3")])
            await all_steps(owned)
            assert stopped_keys() == 1
            assert health.readiness().status == "degraded"
            assert "'c0'" in health.readiness().dependencies["relay of messages"]
    assert await told_by_channel(stores.eventlog) == {"c0": [2], free.channel_id: [2, 3, 4]}
    assert await waiting(stores) == ["c0"] * 3
    (line,) = [entry for entry in logs if entry["event"] == "relay_key_stopped"]
    assert (line["key"], line["log_level"]) == ("c0", "error")
    assert line["size_characters"] > MAX_RECORD_BYTES
    assert line["position"] > 0
    # Whoever owned the shard speaks of it no longer.
    assert stopped_keys() == 0
    assert health.readiness().status == "ok"


async def test_a_row_that_cannot_be_read_waits_until_it_is_mended(stores: Stores) -> None:
    """A new owner finds out anew; when the row is mended, all that waited is told in order."""
    stuck, free = talks_of_one_shard(stores, 2)
    await put(stores.database, [stuck.post("1"), stuck.post("2"), free.post("1")])
    bodies = select(func.min(outbox.c.position)).scalar_subquery()
    async with stores.database.writing() as connection:
        body = await connection.scalar(select(outbox.c.body).where(outbox.c.position == bodies))
        await connection.execute(
            update(outbox).where(outbox.c.position == bodies).values(body='{"no": "event"}')
        )
    for round_ in range(3):
        health = Health("database")
        await put(stores.database, [stuck.post(f"{round_}"), free.post(f"{round_}")])
        shard = stores.shard_of("c0")
        async with owned_shard(stores.database, stores.eventlog, "messages", shard, health) as owned:
            assert owned is not None
            await all_steps(owned)
            assert "no event" in health.readiness().dependencies["relay of messages"]
    assert await told_by_channel(stores.eventlog) == {free.channel_id: [2, 3, 4, 5]}
    async with stores.database.writing() as connection:
        await connection.execute(update(outbox).where(outbox.c.position == bodies).values(body=body))
    await stepped(stores, Health("database"), NEVER_S)
    assert await told_by_channel(stores.eventlog) == {
        "c0": [2, 3, 4, 5, 6],
        free.channel_id: [2, 3, 4, 5],
    }
    assert await nothing_left(stores.database)


async def test_what_waits_behind_a_row_is_not_read_again(stores: Stores) -> None:
    """However much waits, a look for the next rows sees none of it, and takes what is new at once."""
    stuck, free = talks_of_one_shard(stores, 2)
    health = Health("database")
    await put(stores.database, [stuck.post(HUGE), *(stuck.post("x") for _ in range(1_500))])
    shard = stores.shard_of("c0")
    async with owned_shard(stores.database, stores.eventlog, "messages", shard, health) as owned:
        assert owned is not None
        await all_steps(owned)
        assert await owned._next_rows() == []
        assert await left(stores.database) == 1_501
        await put(stores.database, [free.post("x")])
        assert await owned.step() == 1
        assert await left(stores.database) == 1_501


async def test_a_limit_of_the_broker_stops_channels_until_it_is_raised(real_stores: Stores) -> None:
    """Whoever sends too much for the broker waits, all others go on; the next try after the change works."""
    await configure(real_stores.settings, MESSAGES_CREATED, {"max.message.bytes": "3000"})
    talks = talks_of_one_shard(real_stores, 6)
    stuck = (talks[1], talks[4])
    health = Health("database")
    for n in range(5):
        big = [talk.post("x" * 4_000) for talk in stuck] if n == 2 else []
        await put(real_stores.database, [*big, *(talk.post(f"{n}") for talk in talks)])
    shard = real_stores.shard_of("c0")
    owning = owned_shard(
        real_stores.database, real_stores.eventlog, "messages", shard, health, retry_after_s=0.0
    )
    async with owning as owned:
        assert owned is not None
        await all_steps(owned)
        told = await told_by_channel(real_stores.eventlog)
        for talk in talks:
            assert told[talk.channel_id] == list(range(2, 4 if talk in stuck else 7))
        assert stopped_keys() == 2
        await configure(real_stores.settings, MESSAGES_CREATED, {"max.message.bytes": "1000000"})
        await until(lambda: all_told(real_stores, owned))
        assert stopped_keys() == 0
    told = await told_by_channel(real_stores.eventlog)
    for talk in talks:
        assert told[talk.channel_id] == list(range(2, 8 if talk in stuck else 7))


class RememberingHealth(Health):
    """Remembers every status that a probe could have seen."""

    def __init__(self) -> None:
        super().__init__("database")
        self.statuses: list[str] = []

    def up(self, dependency: str) -> None:
        super().up(dependency)
        self.statuses.append(self.readiness().status)

    def down(self, dependency: str, detail: str) -> None:
        super().down(dependency, detail)
        self.statuses.append(self.readiness().status)


async def test_a_topic_that_is_gone_shows_until_the_log_takes_a_batch(stores: Stores) -> None:
    """Owning the shard anew for each try, with a log that answers, does not look like going on."""
    await stores.eventlog.drop_topics()
    await put(stores.database, [Talk(f"c{n}").post("x") for n in range(20)])
    health = RememberingHealth()
    with capture_logs() as logs:
        async with relaying(stores.settings, health=health):

            async def tried(times: int = 3 * stores.shards) -> bool:
                waits = [entry for entry in logs if entry["event"] == "relay_waits"]
                return len(waits) >= times

            await until(tried)
            assert "maeari topics apply" in health.readiness().dependencies["relay of messages"]
            since_first = health.statuses[health.statuses.index("degraded") :]
            assert set(since_first) == {"degraded"}
            await stores.eventlog.apply_topics(ALL_TOPICS, 3)
            await until(lambda: nothing_left(stores.database), within_s=20)

            async def well() -> bool:
                return health.readiness().status == "ok"

            await until(well)


async def all_told(stores: Stores, owned: OwnedShard) -> bool:
    await all_steps(owned)
    return await nothing_left(stores.database)


async def test_a_log_that_is_down_is_told_and_waited_for(real_stores: Stores) -> None:
    """Nothing is lost while no broker answers: probe and metrics say so; later all is told in order."""
    nowhere = replace(real_stores.settings, eventlog_url="kafka://127.0.0.1:1")
    talk = Talk("c0")
    async with relaying(nowhere) as cut_off:
        await put(real_stores.database, [talk.post("x") for _ in range(700)])

        async def noticed() -> bool:
            return "127.0.0.1:1" in cut_off.health.readiness().dependencies.get("relay of messages", "")

        await until(noticed)
        assert cut_off.health.readiness().status == "degraded"
        assert cut_off.health.readiness().ready
        assert await OutboxWatch(real_stores.database, "messages", SystemClock()).look() == 700
        labels = {"lane": "messages"}
        assert REGISTRY.get_sample_value("maeari_outbox_depth", labels) == 700
        age_s = REGISTRY.get_sample_value("maeari_outbox_age_seconds", labels) or 0.0
        assert abs(age_s - (SystemClock().now_ms() - MOMENT_MS) / 1000) < 60
    async with relaying(real_stores.settings):
        await until(lambda: nothing_left(real_stores.database))
    assert await told_by_channel(real_stores.eventlog) == {"c0": list(range(2, 702))}
