"""The backend's work: the API, the relay that tells the log what the API stored, and tombstones when due."""

import asyncio
import socket
from collections.abc import Callable

import structlog

from backbone.clock import Clock
from backbone.errors import Unavailable
from backbone.health import Health, keep_asking
from backbone.http import serve_http
from backbone.relay import LaneRelay
from backbone.settings import Settings
from backbone.startup import check_topics
from backbone.wiring import Ports
from backend import outbox_gauge, write_health
from backend.api.app import create_app
from backend.commands.executor import CommandExecutor
from backend.domain.commands import Command
from backend.horizon import Horizon
from backend.limits import WriteLimit
from backend.outbox_gauge import OutboxGauge
from backend.write_health import WriteHealth
from schemas.topics import ALL_TOPICS

log = structlog.get_logger()


def new_health() -> Health:
    """Without its database the backend can do nothing; without the others writes go on into the outbox."""
    return Health("database", outbox_gauge.DEPENDENCY, write_health.DEPENDENCY)


async def serve(
    ports: Ports,
    clock: Clock,
    settings: Settings,
    listener: socket.socket,
    health: Health,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set; what was taken on is answered first."""
    relay = LaneRelay(ports.database, ports.eventlog, "messages", health)
    gauge = OutboxGauge(ports.database, settings.outbox_max, health, clock)

    writes = WriteHealth(ports.database, health)

    def stored(shards: frozenset[int], events: int) -> None:
        gauge.stored(events)
        relay.wake(shards)

    if settings.auth == "off" and "*" in settings.allowed_origins:
        log.warning("every_page_may_write_as_anyone", setting="MAEARI_ALLOWED_ORIGINS", value="*")
    limit = WriteLimit(settings.write_rate, settings.write_burst)
    executor = CommandExecutor(
        ports.database,
        clock,
        _admission(gauge, limit),
        stored,
        settings.batch_max,
        writes.failed,
    )
    app = create_app(executor, ports.database, ports.search, clock, health, settings, limit)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay.run(stop), name="relay")
        tasks.create_task(gauge.run(stop), name="outbox")
        tasks.create_task(Horizon(ports.database, clock, stored).run(stop), name="horizon")
        tasks.create_task(writes.run(stop), name="writes")
        tasks.create_task(keep_asking(health, "database", ports.database.ask, 1.0, stop), name="database")
        tasks.create_task(keep_asking(health, "search", ports.search.exists, 5.0, stop), name="search")
        tasks.create_task(keep_asking(health, "eventlog", ports.eventlog.topics, 5.0, stop), name="log")
        tasks.create_task(serve_http(app, listener, stop), name="api")
    await executor.close()


def _admission(gauge: OutboxGauge, limit: WriteLimit) -> Callable[[Command], None]:
    """Return what a command passes before it is taken on; only one that there is room for is counted."""

    def admit(command: Command) -> None:
        gauge.require_room()
        limit.take(command.actor_id)

    return admit


async def check(ports: Ports) -> None:
    """Raise SetupError where topics are missing; a log that does not answer is waited for later."""
    try:
        await check_topics(ports.eventlog, ALL_TOPICS)
    except Unavailable as error:
        log.warning(
            "eventlog_down_writes_wait_in_the_outbox", setting="MAEARI_EVENTLOG_URL", detail=str(error)
        )
