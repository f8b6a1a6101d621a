"""How full the outbox is, on both databases: what the metrics say, and when writes are refused."""

import asyncio
import math
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, text

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.tables import outbox
from backbone.health import Health
from backbone.outbox_watch import EVERY_S, LATE_AFTER_S, OutboxWatch, keep_looking
from backbone.relay.stopped import Siding
from backbone.settings import Settings
from backend.domain.rejections import Overloaded
from backend.outbox_gauge import OutboxGauge
from tests.conftest import ADAPTERS
from tests.support.database import migrated_database
from tests.support.messaging import MOMENT_MS, Talk
from tests.support.relaying import put
from tests.support.waiting import until

MAXIMUM = 20


class Hand(SystemClock):
    """A clock set by hand."""

    def now_ms(self) -> int:
        return MOMENT_MS + 60_000


@pytest.fixture(params=ADAPTERS)
async def database(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Database]:
    settings = request.getfixturevalue(f"{request.param}_settings")
    async with migrated_database(settings, unique) as opened:
        yield opened


def metric(name: str, lane: str = "messages") -> float | None:
    return REGISTRY.get_sample_value(name, {"lane": lane})


async def test_the_metrics_tell_depth_and_age_of_each_lane(database: Database) -> None:
    """Depth and age are of all rows, those that are set aside too; an empty lane has no age."""
    watch = OutboxWatch(database, "messages", Hand())
    assert await watch.look() == 0
    assert (metric("maeari_outbox_depth"), metric("maeari_outbox_age_seconds")) == (0, 0)
    talk = Talk("c")
    await put(database, [talk.post("x") for _ in range(30)])
    assert await watch.look() == 30
    assert metric("maeari_outbox_age_seconds") == pytest.approx(60, abs=0.1)
    await set_aside(database, 3)
    assert await watch.look() == 27
    assert (metric("maeari_outbox_depth"), metric("maeari_outbox_set_aside")) == (30, 3)
    assert metric("maeari_outbox_age_seconds") == pytest.approx(60, abs=0.1)
    assert await OutboxWatch(database, "messages", Hand(), up_to=7).look() == 7
    assert await OutboxWatch(database, "notifications", Hand()).look() == 0
    assert metric("maeari_outbox_age_seconds", "notifications") == 0


async def test_writes_are_refused_between_two_looks(database: Database) -> None:
    """What this process stored counts at once; what the log has taken meanwhile, with the next look."""
    health = Health("outbox")
    gauge = OutboxGauge(database, MAXIMUM, health, Hand())
    await gauge.look()
    for _ in range(MAXIMUM):
        gauge.require_room()
        gauge.stored(1)
    with pytest.raises(Overloaded) as refused:
        gauge.require_room()
    assert refused.value.retry_after_s > 0
    # The log has taken it all: there are no rows.
    await gauge.look()
    gauge.require_room()
    assert health.readiness().ready


async def test_a_full_outbox_is_not_ready(database: Database) -> None:
    """At the maximum the probe says no, whoever stored the rows."""
    health = Health("outbox")
    gauge = OutboxGauge(database, MAXIMUM, health, Hand())
    talk = Talk("c")
    await put(database, [talk.post("x") for _ in range(MAXIMUM)])
    assert await gauge.look() == MAXIMUM
    assert not health.readiness().ready
    with pytest.raises(Overloaded):
        gauge.require_room()


async def test_a_channel_that_stands_still_fills_no_outbox(database: Database) -> None:
    """However many rows wait behind one that the log does not take, other channels are written on."""
    health = Health("outbox")
    gauge = OutboxGauge(database, MAXIMUM, health, Hand())
    stuck, free = Talk("stuck"), Talk("free")
    await put(database, [stuck.post("x") for _ in range(MAXIMUM + 5)])
    await set_aside(database, MAXIMUM + 5)
    assert await gauge.look() == 0
    gauge.require_room()
    assert health.readiness().ready
    await put(database, [free.post("x") for _ in range(MAXIMUM)])
    assert await gauge.look() == MAXIMUM
    assert not health.readiness().ready


async def set_aside(database: Database, rows: int) -> None:
    """Set the first rows aside, as the relay does behind one that the log does not take."""
    async with database.writing() as connection:
        await Siding("messages", 0).put(connection, range(1, rows + 1))


async def test_the_gauge_looks_at_once_when_room_runs_out(database: Database) -> None:
    """A refusal for what the relay has told meanwhile lasts no longer than a look."""
    gauge = OutboxGauge(database, MAXIMUM, Health("outbox"), Hand())
    stop = asyncio.Event()
    running = asyncio.create_task(gauge.run(stop))
    # Looks by the clock alone would take fifty times EVERY_S.
    async with asyncio.timeout(25 * EVERY_S):
        for _ in range(50):
            await until(lambda: has_room(gauge), every_s=0.005)
            gauge.stored(MAXIMUM)
    stop.set()
    await running


async def has_room(gauge: OutboxGauge) -> bool:
    try:
        gauge.require_room()
    except Overloaded:
        return False
    return True


async def test_a_table_that_stands_still(real_settings: Settings, unique: str) -> None:
    """What was last seen is told as unknown meanwhile, and soon seen again however long it took."""
    health, stop = Health("outbox"), asyncio.Event()
    async with migrated_database(real_settings, unique) as database:
        gauge = OutboxGauge(database, MAXIMUM, health, Hand())
        talk = Talk("c")
        await put(database, [talk.post("x") for _ in range(MAXIMUM)])
        running = asyncio.create_task(gauge.run(stop))
        await until(lambda: depth_is(MAXIMUM))
        async with database.writing() as connection:
            await connection.execute(text("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE"))
            await until(lambda: depth_is(math.nan), within_s=3 * LATE_AFTER_S)
            assert not health.readiness().ready
            assert "not counted" in health.readiness().dependencies["outbox"]
            assert "not counted" in health.readiness().dependencies["relay"]
            await connection.execute(delete(outbox))
        await until(lambda: has_room(gauge), within_s=3 * EVERY_S)
        assert health.readiness().ready
        stop.set()
        await running


async def depth_is(value: float) -> bool:
    depth = metric("maeari_outbox_depth")
    return depth is not None and (depth == value or (math.isnan(depth) and math.isnan(value)))


class Watch:
    """Takes its time, and notes when."""

    def __init__(self, *takes_s: float) -> None:
        self.asked = asyncio.Event()
        self.began_s: list[float] = []
        self._takes_s = takes_s

    async def look(self) -> None:
        self.began_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._takes_s[len(self.began_s) % len(self._takes_s)])
        self.asked.set()

    def unknown(self, why: str) -> None:
        raise AssertionError(why)

    async def pauses_s(self) -> list[float]:
        """Return the times between the first looks."""
        stop = asyncio.Event()
        running = asyncio.create_task(keep_looking(self, stop, self.asked))
        await until(self._looked_often)
        stop.set()
        await running
        return [later - earlier for earlier, later in pairwise(self.began_s)]

    async def _looked_often(self) -> bool:
        return len(self.began_s) > 4


async def test_what_costs_much_is_done_rarely() -> None:
    """A look that takes a while is followed by a pause of ten times that where one is asked for."""
    _first, *later = await Watch(0.02).pauses_s()
    assert min(later) >= 0.2


async def test_one_slow_look_makes_none_rare() -> None:
    """A look that hung for once is followed by the next as soon as always."""
    assert max(await Watch(0.0, 0.4).pauses_s()) < 1.0
