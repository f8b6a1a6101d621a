"""Reads the log for a rehearsal: channels before what was written in them, and the evidence of inboxes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Reader, Record, TopicPartition
from backbone.progress import Progress
from rebuilder.database.loading import missing
from rebuilder.notifications.rehearsal import Rehearsal
from rebuilder.patience import patiently
from rebuilder.readers import Log
from schemas.topics import CHANNELS_CHANGED, MESSAGE_TOPICS, NOTIFICATIONS_SENT, USERS_CHANGED, Topic

TOPICS = (CHANNELS_CHANGED, USERS_CHANGED, NOTIFICATIONS_SENT, *MESSAGE_TOPICS)
_READ_AT_ONCE = 1_000
_STUCK_S = 60.0

Offsets = Mapping[TopicPartition, int]


@dataclass
class Reading:
    """Where a rehearsal reads."""

    evidence: Reader
    channels: Reader
    messages: Reader
    rehearsal: Rehearsal
    progress: Progress
    records: int = 0

    async def to_the_ends(self, step: str) -> None:
        """Read all that is in the log at this moment. Raises Unavailable."""
        # Messages that come later wait for the next time: what happened in their channels may not be read.
        of_messages = await patiently(partial(self.messages.end_offsets, undecided=True))
        of_channels = await patiently(partial(self.channels.end_offsets, undecided=True))
        of_evidence = await patiently(partial(self.evidence.end_offsets, undecided=True))
        pairs = (
            (self.channels, of_channels),
            (self.evidence, of_evidence),
            (self.messages, of_messages),
        )
        if total := sum(missing(reader, ends) for reader, ends in pairs):
            self.progress.step(step, total)
        for reader, ends in pairs:
            await self._read_to(reader, ends)

    async def _read_to(self, reader: Reader, ends: Offsets) -> None:
        now_s = asyncio.get_running_loop().time
        left, moved_s = missing(reader, ends), now_s()
        while left:
            self.records += await self._read_some(reader, ends)
            before, left = left, missing(reader, ends)
            self.progress.advance(before - left)
            if left < before:
                moved_s = now_s()
            elif now_s() - moved_s > _STUCK_S:
                raise Unavailable(DEPENDENCY, f"{left} records are still to be read, and none came")
        # What was read beyond the ends is read again the next time. To seek back at once would hold up the
        # other partitions where a reader takes one after the other, as that of the archive does.
        _go_back(reader, _up_to(ends, reader))

    async def _read_some(self, reader: Reader, ends: Offsets) -> int:
        """Apply what is next, up to the ends; what is interrupted is read again. Raises Unavailable."""
        before = _up_to(ends, reader)
        try:
            records = _before(await patiently(partial(reader.read, _READ_AT_ONCE, 1.0)), ends)
            await self.rehearsal.apply(records, _up_to(ends, reader))
        except BaseException:
            _go_back(reader, before)
            raise
        return len(records)


def _up_to(ends: Offsets, reader: Reader) -> dict[TopicPartition, int]:
    return {place: min(at, ends[place]) for place, at in reader.positions().items()}


def _go_back(reader: Reader, positions: Offsets) -> None:
    if positions != reader.positions():
        reader.seek(positions)


def _before(records: list[Record], ends: Offsets) -> list[Record]:
    return [each for each in records if each.offset < ends[each.topic_partition]]


@asynccontextmanager
async def open_reading(
    log: Log, rehearsal: Rehearsal, noted: Offsets, progress: Progress
) -> AsyncIterator[Reading]:
    """Open what a rehearsal reads, from the noted offsets on. Raises Unavailable or SetupError."""
    async with AsyncExitStack() as stack:

        async def opened(*topics: Topic) -> Reader:
            reader = await log.reader(topics)
            stack.push_async_callback(reader.close)
            there = reader.positions()
            reader.seek({place: at for place, at in noted.items() if place in there})
            return reader

        yield Reading(
            evidence=await opened(USERS_CHANGED, NOTIFICATIONS_SENT),
            channels=await opened(CHANNELS_CHANGED),
            messages=await opened(*MESSAGE_TOPICS),
            rehearsal=rehearsal,
            progress=progress,
        )
