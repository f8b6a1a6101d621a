"""The notifier process: settings in, ports opened, consumer, relay, tail and sockets started."""

import asyncio
import socket

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.migrations import check_migrated
from backbone.eventlog import EventLog
from backbone.health import Health
from backbone.http import bind, serve_http
from backbone.probes import probes_app
from backbone.relay import Relay
from backbone.settings import Settings
from backbone.startup import answering, check_topics
from backbone.wiring import open_ports
from notifier.hub import Hub
from notifier.mailbox import Mailbox
from notifier.service import TOPICS, Notifier
from notifier.sockets import SocketServer
from notifier.tail import Tail
from schemas.topics import NOTIFICATIONS_SENT


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises SetupError when things are not set up."""
    health = Health("eventlog", "database")
    with (
        bind(settings.host, settings.metrics_ports["notifier"], "MAEARI_METRICS_PORT") as probes,
        bind(settings.host, settings.websocket_port, "MAEARI_WEBSOCKET_PORT") as listener,
    ):
        async with open_ports(settings) as ports:
            with answering("MAEARI_DATABASE_URL"):
                await check_migrated(ports.database)
            with answering("MAEARI_EVENTLOG_URL"):
                await check_topics(ports.eventlog, (*TOPICS, NOTIFICATIONS_SENT))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve_http(probes_app(health), probes, stop), name="probes")
                tasks.create_task(
                    serve(ports.eventlog, ports.database, settings, listener, health, stop),
                    name="notifier",
                )


async def serve(
    eventlog: EventLog,
    database: Database,
    settings: Settings,
    listener: socket.socket,
    health: Health,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set, sockets on `listener`; tables and topics exist already."""
    clock, hub = SystemClock(), Hub()
    relay = Relay(database, eventlog, "notifications", health)
    notifier = Notifier(eventlog, database, clock, health, hub, stored=relay.wake)
    sockets = SocketServer(Mailbox(database, clock), hub, settings.allowed_origins)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(notifier.run(stop), name="consumer")
            tasks.create_task(relay.run(stop), name="relay")
            tasks.create_task(Tail(eventlog, hub, health).run(stop), name="tail")
            tasks.create_task(_serve_sockets(sockets, listener, stop), name="sockets")
    finally:
        await notifier.close()


async def _serve_sockets(sockets: SocketServer, listener: socket.socket, stop: asyncio.Event) -> None:
    await sockets.start(listener)
    try:
        await stop.wait()
    finally:
        await sockets.close()
