"""The indexer process: settings in, ports opened, index made, consumer and probes started."""

import asyncio

from backbone.clock import SystemClock
from backbone.health import Health
from backbone.http import bind, serve_http
from backbone.instance import instance_name
from backbone.probes import probes_app
from backbone.settings import Settings
from backbone.startup import answering, check_topics
from backbone.wiring import open_ports
from indexer.service import TOPICS, serve


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises SetupError when things are not set up."""
    health = Health("eventlog", "search")
    with (
        bind(settings.host, settings.metrics_ports["indexer"], "MAEARI_METRICS_PORT") as probes,
        instance_name(settings, "indexer") as instance,
    ):
        async with open_ports(settings) as ports:
            with answering("MAEARI_EVENTLOG_URL"):
                await check_topics(ports.eventlog, consumed=TOPICS)
            with answering("MAEARI_SEARCH_URL"):
                await ports.search.ensure()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve_http(probes_app(health), probes, stop), name="probes")
                indexing = serve(ports.eventlog, ports.search, SystemClock(), health, stop, instance)
                tasks.create_task(indexing, name="indexer")
