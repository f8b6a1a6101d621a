"""The notifier's work: events from the log into inboxes, and a hint to the sessions of this node.

Guarantees: offsets are committed after the inbox was.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.eventlog import EventLog
from backbone.eventlog.applying import Refusal, Taken
from backbone.eventlog.consumer import ConsumingLoop
from backbone.eventlog.events import read_stream_event
from backbone.health import Health, keep_asking
from backbone.mailbox import Mailbox
from backbone.outbox_watch import OutboxWatch, keep_looking
from backbone.relay import LaneRelay
from backbone.settings import Settings
from backbone.tokens import open_verifier
from notifier.announcements import Announcer
from notifier.feeds import Feeds
from notifier.following import Follower
from notifier.hub import Hub
from notifier.inbox import Inbox
from notifier.senders.chosen import chosen_senders
from notifier.senders.first_use import known_first_uses
from notifier.senders.pushing import push_all
from notifier.sockets import SocketServer
from notifier.tail import Tail
from schemas.events import MessagesEvent, StreamEvent
from schemas.topics import CHANNELS_CHANGED, GROUP_NOTIFIER, MESSAGE_TOPICS

TOPICS = (*MESSAGE_TOPICS, CHANNELS_CHANGED)


class Notifier:
    """One member of the group `notification-service`."""

    def __init__(
        self,
        eventlog: EventLog,
        database: Database,
        clock: Clock,
        health: Health,
        hub: Hub,
        stored: Callable[[Collection[str]], None] = lambda _users: None,
        instance: str | None = None,
    ) -> None:
        """`stored` is told of which users there are new rows in the outbox."""
        self._inbox = Inbox(database, clock)
        self._follower = Follower(eventlog, database)
        self._announcer = Announcer(database, clock, self._tell)
        self._hub = hub
        self._health = health
        self._stored = stored
        self._loop = ConsumingLoop(
            eventlog, GROUP_NOTIFIER, TOPICS, read_stream_event, self.handle, health, instance=instance
        )

    async def handle(self, batch: Sequence[Taken[StreamEvent]]) -> Sequence[Refusal]:
        """Apply a batch of events. Raises Unavailable."""
        events = [event for _, event in batch if isinstance(event, MessagesEvent)]
        if events:
            # What happened in their channels before them may lie in records that are not read yet.
            await self._follower.catch_up({record.partition for record, _ in batch})
            self._tell(await self._inbox.apply(events))
            self._health.up("database")
            self._announcer.wake()
        return ()

    def _tell(self, grown: Collection[str]) -> None:
        self._hub.wake(grown)
        self._stored(grown)

    async def step(self) -> int:
        """Take one batch from the log to the inboxes, and announce; return how many records it had."""
        records = await self._loop.step()
        await self.announce()
        return records

    async def announce(self) -> None:
        """Carry out what is to be announced, to its end."""
        while await self._announcer.step():
            pass

    async def run(self, stop: asyncio.Event) -> None:
        """Take batch after batch until `stop` is set."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._loop.run(stop), name="loop")
            tasks.create_task(self._announcer.run(stop), name="announcements")

    async def close(self) -> None:
        """Leave the group."""
        await self._loop.close()
        await self._follower.close()


async def serve(
    eventlog: EventLog,
    database: Database,
    clock: Clock,
    settings: Settings,
    listener: socket.socket,
    health: Health,
    stop: asyncio.Event,
    instance: str | None = None,
) -> None:
    """Serve until `stop` is set, sockets on `listener`; tables and topics exist already."""
    hub = Hub()
    relay = LaneRelay(database, eventlog, "notifications", health)
    watch = OutboxWatch(database, "notifications", clock)
    notifier = Notifier(eventlog, database, clock, health, hub, stored=relay.wake_keys, instance=instance)
    verifier = open_verifier(settings, health)
    mailbox = Mailbox(database, clock)
    feeds = Feeds(database)
    sockets = SocketServer(mailbox, hub, feeds, settings.allowed_origins, verifier=verifier, clock=clock)
    senders = chosen_senders(settings, clock)
    # Before anything is told: whatever this process tells is pushed.
    first_uses = await known_first_uses(database, clock, [each.name for each in senders], stop)
    ways_out = push_all(eventlog, mailbox, senders, first_uses, health, stop, instance)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(notifier.run(stop), name="consumer")
            tasks.create_task(relay.run(stop), name="relay")
            tasks.create_task(keep_looking(watch, stop), name="outbox")
            tasks.create_task(keep_asking(health, "database", database.ask, 5.0, stop), name="database")
            tasks.create_task(ways_out, name="ways out")
            tasks.create_task(Tail(eventlog, hub, feeds, health).run(stop), name="tail")
            tasks.create_task(_serve_sockets(sockets, listener, stop), name="sockets")
    finally:
        await notifier.close()


async def _serve_sockets(sockets: SocketServer, listener: socket.socket, stop: asyncio.Event) -> None:
    await sockets.start(listener)
    try:
        await stop.wait()
    finally:
        await sockets.close()
