"""The backend process: settings in, ports opened, service started."""

import asyncio

from backbone.clock import SystemClock
from backbone.database.migrations import check_migrated
from backbone.http import bind
from backbone.settings import Settings
from backbone.startup import answering
from backbone.wiring import open_ports
from backend.service import check, new_health, serve


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises SetupError when things are not set up."""
    listener = bind(settings.host, settings.port, "MAEARI_PORT")
    with listener:
        async with open_ports(settings) as ports:
            with answering("MAEARI_DATABASE_URL"):
                await check_migrated(ports.database)
            await check(ports)
            await serve(ports, SystemClock(), settings, listener, new_health(), stop)
