"""The archiver process: settings in, log and archive opened, consumer and probes started."""

import asyncio

from archiver.service import TOPICS, serve
from backbone.archive import DEPENDENCY
from backbone.clock import SystemClock
from backbone.health import Health
from backbone.http import bind, serve_http
from backbone.instance import instance_name
from backbone.probes import probes_app
from backbone.settings import Settings
from backbone.startup import answering, check_topics
from backbone.wiring import open_archive, open_ports


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises SetupError when things are not set up."""
    health = Health("eventlog", DEPENDENCY)
    storage = open_archive(settings.archive)
    with (
        bind(settings.host, settings.metrics_ports["archiver"], "MAEARI_METRICS_PORT") as probes,
        instance_name(settings, "archiver") as instance,
    ):
        async with open_ports(settings) as ports:
            with answering("MAEARI_EVENTLOG_URL"):
                await check_topics(ports.eventlog, TOPICS)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve_http(probes_app(health), probes, stop), name="probes")
                archiving = serve(
                    ports.eventlog, storage, SystemClock(), settings.archive, health, stop, instance
                )
                tasks.create_task(archiving, name="archiver")
