"""`maeari dev`: every room of the platform in one process, on files in one folder, no server."""

import asyncio
import sys

from archiver.service import serve as serve_archiver
from backbone.clock import SystemClock
from backbone.database.migrations import migrate
from backbone.http import bind
from backbone.settings import Settings
from backbone.wiring import open_archive, open_ports
from backend.service import new_health
from backend.service import serve as serve_backend
from indexer.service import serve as serve_indexer
from notifier.service import serve as serve_notifier
from schemas.topics import ALL_TOPICS


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Make what is missing, run all services until `stop` is set. Raises SetupError."""
    with (
        bind(settings.host, settings.port, "MAEARI_PORT") as api,
        bind(settings.host, settings.websocket_port, "MAEARI_WEBSOCKET_PORT") as sockets,
    ):
        async with open_ports(settings) as ports:
            await migrate(ports.database)
            await ports.eventlog.apply_topics(ALL_TOPICS, settings.partitions)
            await ports.search.ensure()
            # One health for all, since one port answers for all.
            health = new_health()
            clock, log, database = SystemClock(), ports.eventlog, ports.database
            async with asyncio.TaskGroup() as services:
                services.create_task(serve_backend(ports, clock, settings, api, health, stop))
                services.create_task(serve_indexer(log, ports.search, clock, health, stop))
                archive = open_archive(settings.archive)
                services.create_task(serve_archiver(log, archive, clock, settings.archive, health, stop))
                services.create_task(serve_notifier(log, database, clock, settings, sockets, health, stop))
                sys.stdout.write(greeting(settings))
                sys.stdout.flush()


def greeting(settings: Settings) -> str:
    """Return what `maeari dev` prints once it answers."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    api = f"http://{host}:{settings.port}"
    return (
        f"maeari dev: one process, files in {settings.data}\n"
        f"  REST       {api}/messages\n"
        f"  search     {api}/messages/search?q=\n"
        f"  sockets    ws://{host}:{settings.websocket_port}/ws?user_id=\n"
        f"  OpenAPI    {api}/schema/openapi.json\n"
        f"  health     {api}/health/ready\n"
        "Ctrl-C stops it.\n"
    )
