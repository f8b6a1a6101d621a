"""A channel's messages out of its events: sorted by message, folded one by one.

Guarantees: nothing is given unless the channel's numbers are there without a gap; memory does not grow
with the channel, but for the gaps while its topics are read one after the other.
"""

from collections.abc import AsyncGenerator, Iterable
from itertools import groupby

import msgspec

from backbone.eventlog import Record
from backbone.progress import Progress
from backend.domain.evolve import evolve_message
from backend.domain.state import MessageRecord, former
from rebuilder.export.refusals import Refused, no_such_channel, not_yet
from rebuilder.export.sorting import Item, Sorter
from rebuilder.numbers import Numbers, told
from rebuilder.patience import patiently
from rebuilder.readers import Log
from rebuilder.reading import read_to
from schemas.events import (
    ChannelCreated,
    ChannelsEvent,
    StreamEvent,
    decode_message_event,
    decode_stream_event,
)
from schemas.messages import FormerMessage
from schemas.topics import STREAM_TOPICS, partition_of

_SHOWN_AT_ONCE = 500
_NAMED = 3


async def messages_of_events(
    log: Log, channel_id: str, last_told: int, until_ms: int | None, progress: Progress
) -> AsyncGenerator[FormerMessage, None]:
    """Yield the messages in the order of `sequence`; `last_told` is the number that the log must have.

    Raises Refused, NoRoom, Unfit, Unavailable or SetupError.
    """
    sorter = Sorter()
    try:
        await _Events(channel_id, last_told, until_ms, sorter).read(log, progress)
        progress.step("write")
        for count, (_, items) in enumerate(groupby(sorter.items(), key=_message), 1):
            yield former(_fold(items))
            if count % _SHOWN_AT_ONCE == 0:
                progress.advance(_SHOWN_AT_ONCE)
    finally:
        sorter.close()


class _Events:
    """The events of one channel, as they are found among others."""

    def __init__(self, channel_id: str, last_told: int, until_ms: int | None, sorter: Sorter) -> None:
        self._channel_id = channel_id
        self._last_told = last_told
        self._until_ms = until_ms
        self._sorter = sorter
        self._numbers = Numbers()
        self._made_ms: int | None = None
        self._unreadable: list[str] = []

    async def read(self, log: Log, progress: Progress) -> None:
        """Read the channel's partition of each topic to its end. Raises as `messages_of_events`."""
        states = await patiently(log.topics)
        counts = {states[topic.name].partitions for topic in STREAM_TOPICS if topic.name in states}
        partitions = {partition_of(self._channel_id, count) for count in counts} if counts else None
        reader = await log.reader(STREAM_TOPICS, partitions)
        try:
            ends = await patiently(reader.end_offsets)
            async for records in read_to(reader, ends, progress, f"read the events of {self._channel_id}"):
                for record in records:
                    if record.key == self._channel_id:
                        self._take(record)
        finally:
            await reader.close()
        self._check()

    def _take(self, record: Record) -> None:
        try:
            event = decode_stream_event(record.value or b"")
        except msgspec.DecodeError:
            if len(self._unreadable) < _NAMED:
                self._unreadable.append(f"{record.topic}/{record.partition}/{record.offset}")
            return
        if event.payload.channel_id != self._channel_id:
            return
        self._numbers.add(self._channel_id, event.sequence)
        if isinstance(event, ChannelCreated):
            self._made_ms = event.timestamp
        if not isinstance(event, ChannelsEvent) and self._had_happened(event):
            self._sorter.add((event.payload.sequence, event.sequence), record.value or b"")

    def _had_happened(self, event: StreamEvent) -> bool:
        return self._until_ms is None or event.timestamp <= self._until_ms

    def _check(self) -> None:
        """Raise Refused where there is no such channel, or not all of it."""
        gaps = list(self._numbers.gaps({self._channel_id: self._last_told}))
        if gaps:
            more = f" and {len(gaps) - 1:,} gaps more" if len(gaps) > 1 else ""
            poison = (
                f"; records that cannot be read: {', '.join(self._unreadable[:3])}"
                if self._unreadable
                else ""
            )
            raise Refused(f"{told(*gaps[0])}{more}{poison}: it cannot be restored from here")
        if self._made_ms is None:
            raise no_such_channel(self._channel_id, "the log")
        if self._until_ms is not None and self._made_ms > self._until_ms:
            raise not_yet(self._channel_id, self._until_ms, self._made_ms)


def _message(item: Item) -> int:
    return item[0][0]


def _fold(items: Iterable[Item]) -> MessageRecord:
    record: MessageRecord | None = None
    for (_, version), data in items:
        # An event may be in the log more than once.
        if record is None or version > record.message.version:
            record = evolve_message(record, decode_message_event(data))
    assert record is not None
    return record
