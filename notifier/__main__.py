"""The notifier process: settings in, ports opened, consumer, relay, tail and sockets started."""

import asyncio

from backbone.clock import SystemClock
from backbone.database.migrations import check_migrated
from backbone.health import Health
from backbone.http import bind, serve_http
from backbone.instance import instance_name
from backbone.probes import probes_app
from backbone.settings import Settings
from backbone.startup import answering, check_topics
from backbone.wiring import open_ports
from notifier.service import TOPICS, serve
from notifier.tail import TAILED
from schemas.topics import NOTIFICATIONS_SENT


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises SetupError when things are not set up."""
    health = Health("eventlog", "database")
    with (
        bind(settings.host, settings.metrics_ports["notifier"], "MAEARI_METRICS_PORT") as probes,
        bind(settings.host, settings.websocket_port, "MAEARI_WEBSOCKET_PORT") as listener,
        instance_name(settings, "notifier") as instance,
    ):
        async with open_ports(settings) as ports:
            with answering("MAEARI_DATABASE_URL"):
                await check_migrated(ports.database)
            with answering("MAEARI_EVENTLOG_URL"):
                await check_topics(ports.eventlog, TAILED, consumed=TOPICS)
                if settings.senders:
                    await check_topics(ports.eventlog, consumed=(NOTIFICATIONS_SENT,))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve_http(probes_app(health), probes, stop), name="probes")
                tasks.create_task(
                    serve(
                        ports.eventlog,
                        ports.database,
                        SystemClock(),
                        settings,
                        listener,
                        health,
                        stop,
                        instance,
                    ),
                    name="notifier",
                )
