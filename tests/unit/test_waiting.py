"""Bounded waiting: a probe that gets no answer, and work that does not end when the process stops."""

import asyncio

import pytest

from backbone import health as health_module
from backbone.errors import Unavailable
from backbone.health import Health, keep_asking
from backbone.waiting import one_set_within, stopped_within, until_stopped
from tests.support.waiting import until


async def test_a_dependency_that_hangs_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a server that neither answers nor refuses, the probe says so; when it answers, all is well."""
    monkeypatch.setattr(health_module, "ANSWER_WITHIN_S", 0.05)
    health, stop, thaw = Health("database"), asyncio.Event(), asyncio.Event()
    asking = asyncio.create_task(keep_asking(health, "database", thaw.wait, 0.01, stop))

    async def ready(wanted: bool) -> bool:
        return health.readiness().ready is wanted

    await until(lambda: ready(False))
    assert "no answer" in health.readiness().dependencies["database"]
    thaw.set()
    await until(lambda: ready(True))
    stop.set()
    await asyncio.wait_for(asking, 1)


async def test_work_that_does_not_end_is_cancelled_after_its_grace() -> None:
    """Given work that waits for ever, a stop ends it within the grace."""
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    stopping = asyncio.create_task(until_stopped(endless(), stop, 0.05))
    assert not await stopped_within(stop, 0.02)
    assert not stopping.done()
    stop.set()
    await asyncio.wait_for(stopping, 1)
    assert cancelled.is_set()


async def test_the_error_of_the_work_is_raised() -> None:
    """Given work that fails before any stop, its error is the caller's."""

    async def failing() -> None:
        raise Unavailable("eventlog", "gone")

    with pytest.raises(Unavailable):
        await until_stopped(failing(), asyncio.Event(), 1)


async def test_whichever_of_several_events_is_set_ends_the_wait() -> None:
    """One set before or during the wait ends it; with none the time does."""
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()
    began_s = loop.time()
    await one_set_within((first, second), 0.05)
    assert loop.time() - began_s >= 0.04
    loop.call_later(0.01, second.set)
    async with asyncio.timeout(1):
        await one_set_within((first, second), 10)
        await one_set_within((first, second), 10)
