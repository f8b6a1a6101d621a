"""A log to be rebuilt from: channels, messages, and their states, as the backend would have told it."""

import asyncio
from collections.abc import Iterator

from backbone.archive.reading import Archive
from backbone.archive.settings import ArchiveSettings
from backbone.clock import SystemClock
from backbone.eventlog import EventLog, NewRecord
from backbone.settings import Settings
from backbone.wiring import open_archive, open_eventlog
from bench.backlog import CHANNELS, backlog, channel_of
from bench.server import running_archiver
from schemas.channels import Channel
from schemas.clock import format_ms
from schemas.events import ChannelCreated, MessageCreated, encode
from schemas.states import state_after
from schemas.topics import CHANNELS_CHANGED, MESSAGES_CREATED, MESSAGES_STATE

_SENT_AT_ONCE = 2_000
_ASK_EVERY_S = 0.5


async def tell_log(eventlog: EventLog, messages: int, channels: int = CHANNELS) -> None:
    """Append the events of so many messages, of their channels, and the states. Raises Unavailable."""
    producer = await eventlog.producer()
    try:
        for first in range(0, channels, _SENT_AT_ONCE):
            made = range(first, min(first + _SENT_AT_ONCE, channels))
            await producer.send([_created(channel_of(number)) for number in made])
        batch: list[NewRecord] = []
        for event in backlog(messages, channels=channels):
            batch += _records(event)
            if len(batch) >= _SENT_AT_ONCE:
                await producer.send(batch)
                batch = []
        await producer.send(batch)
    finally:
        await producer.close()


def archive_url(stores: Settings) -> str:
    """Return where the log of a measurement is archived."""
    return f"file://{stores.data / 'archive'}"


async def archive_log(stores: Settings) -> None:
    """Have an archiver archive the log to its end. Raises MeasurementFailed or Unavailable."""
    eventlog = open_eventlog(stores)
    storage = open_archive(ArchiveSettings(url=archive_url(stores)))
    archive = Archive(storage, eventlog.full_name)

    async def waiting() -> int:
        states = await eventlog.topics()
        return sum(
            max(0, end - archive.bounds(name, partition).end)
            for name, state in states.items()
            for partition, end in enumerate(state.end)
        )

    try:
        async with running_archiver(stores, ARCHIVE_URL=archive_url(stores), ARCHIVE_MAX_AGE=1) as archiver:
            while await waiting():
                archiver.require_running()
                await asyncio.sleep(_ASK_EVERY_S)
    finally:
        await eventlog.close()


def _created(channel_id: str) -> NewRecord:
    clock = SystemClock()
    now_ms = clock.now_ms()
    channel = Channel(
        channel_id=channel_id, name=channel_id, created_by="author-0000", created_at=format_ms(now_ms)
    )
    event = ChannelCreated(event_id=clock.new_id("evt_"), timestamp=now_ms, sequence=1, payload=channel)
    return NewRecord(CHANNELS_CHANGED.name, channel_id, channel_id, encode(event))


def _records(event: MessageCreated) -> Iterator[NewRecord]:
    channel_id = event.payload.channel_id
    yield NewRecord(MESSAGES_CREATED.name, channel_id, channel_id, encode(event))
    yield NewRecord(MESSAGES_STATE.name, event.payload.message_id, channel_id, encode(state_after(event)))
