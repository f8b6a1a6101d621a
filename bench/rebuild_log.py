"""A log to be rebuilt from: channels, messages, and their states, whole as the backend would have told it."""

from collections.abc import Iterator

from backbone.clock import SystemClock
from backbone.eventlog import EventLog, NewRecord
from bench.backlog import CHANNELS, backlog
from schemas.channels import Channel
from schemas.clock import format_ms
from schemas.events import ChannelCreated, MessageCreated, encode
from schemas.states import state_after
from schemas.topics import CHANNELS_CHANGED, MESSAGES_CREATED, MESSAGES_STATE

_SENT_AT_ONCE = 2_000


async def tell_log(eventlog: EventLog, messages: int) -> None:
    """Append the events of so many messages, of their channels, and the states. Raises Unavailable."""
    producer = await eventlog.producer()
    try:
        await producer.send([_created(f"channel-{number:03}") for number in range(CHANNELS)])
        batch: list[NewRecord] = []
        for event in backlog(messages):
            batch += _records(event)
            if len(batch) >= _SENT_AT_ONCE:
                await producer.send(batch)
                batch = []
        await producer.send(batch)
    finally:
        await producer.close()


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
