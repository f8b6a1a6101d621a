"""The notifier's work: events from the log into inboxes, and a hint to the sessions of this node.

Guarantees: offsets are committed after the inbox was; a record that cannot be read is refused, with
its reason, and keeps no other from being applied.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.errors import Poison
from backbone.eventlog import EventLog, Record
from backbone.eventlog.consumer import ConsumingLoop, Refusal
from backbone.health import Health
from notifier.hub import Hub
from notifier.inbox import Inbox
from schemas.events import MessageDeleted, MessagesEvent, decode_message_event
from schemas.topics import CHANNELS_CHANGED, GROUP_NOTIFIER, MESSAGE_TOPICS

TOPICS = (*MESSAGE_TOPICS, CHANNELS_CHANGED)
_SEQUENCE_MAX = 2**63 - 1


class Notifier:
    """One member of the group `notification-service`."""

    def __init__(
        self,
        eventlog: EventLog,
        database: Database,
        clock: Clock,
        health: Health,
        hub: Hub,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        """`stored` is called when there are new rows in the outbox."""
        self._inbox = Inbox(database, clock)
        self._hub = hub
        self._health = health
        self._stored = stored
        self._loop = ConsumingLoop(eventlog, GROUP_NOTIFIER, TOPICS, self.handle, health)

    async def handle(self, records: Sequence[Record]) -> Sequence[Refusal]:
        """Apply a batch of records; return those that can never be. Raises Unavailable."""
        events: list[MessagesEvent] = []
        refusals: list[Refusal] = []
        for record in records:
            # Membership is read from the database: what a channel's own events say is there already.
            if record.topic == CHANNELS_CHANGED.name:
                continue
            try:
                events.append(read_event(record))
            except Poison as poison:
                refusals.append(Refusal(record, str(poison)))
        if events:
            grown = await self._inbox.apply(events)
            self._health.up("database")
            self._hub.wake(grown)
            self._stored()
        return refusals

    async def step(self) -> int:
        """Take one batch from the log to the inboxes; return how many records it had."""
        return await self._loop.step()

    async def run(self, stop: asyncio.Event) -> None:
        """Take batch after batch until `stop` is set."""
        await self._loop.run(stop)

    async def close(self) -> None:
        """Leave the group."""
        await self._loop.close()


def read_event(record: Record) -> MessagesEvent:
    """Return the event of a record. Raises Poison when it is none, or one that no database takes."""
    if record.value is None:
        raise Poison("the record has no value")
    try:
        event = decode_message_event(record.value)
    except msgspec.DecodeError as error:
        raise Poison(f"not an event of a message: {error}") from error
    texts = [event.payload.message_id, event.payload.channel_id, event.payload.author_id]
    if not isinstance(event, MessageDeleted):
        texts += [event.payload.content, *event.payload.mentions]
    if any("\0" in text for text in texts):
        raise Poison("a text of the event holds NUL")
    if event.sequence > _SEQUENCE_MAX:
        raise Poison(f"the sequence {event.sequence} is beyond 63 bits")
    return event
