"""Where a rebuild of the database reads: the port, and its adapters over the log.

A log whose past comes out of the archive is read as the log is, see rebuilder.archived.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from backbone.eventlog import Reader
from backbone.progress import Progress
from rebuilder.database.loading import events_in_bulk, events_in_place, load, missing
from rebuilder.database.side import Side
from rebuilder.database.states import load_states
from rebuilder.database.storing import noted_offsets
from rebuilder.patience import patiently
from rebuilder.readers import Log
from schemas.topics import STREAM_TOPICS, USERS_CHANGED

EVENT_TOPICS = (*STREAM_TOPICS, USERS_CHANGED)
# Of a channel that lost all its events nothing but live tables knows.
UNKNOWN_LOSS = (
    "the log lacks its beginning, perhaps with whole channels; --from archive has what was archived,"
    " --accept-differences swaps in what there is"
)


class Source(Protocol):
    """Brings in the past; what came after it is read in the log, as events."""

    @property
    def whole_record(self) -> bool:
        """Whether every event is brought in, or only what became of it."""

    async def load(self, side: Side, progress: Progress) -> int:
        """Write the past into empty tables, with the offsets of EVENT_TOPICS that lie behind it.

        Returns how many records were read. It goes on from the offsets that are noted already. Raises
        Unavailable, NotLoaded, Contradicted, or SetupError where something is missing.
        """

    async def reader(self, side: Side) -> Reader:
        """Open a reader of all events that lie behind the noted offsets."""

    async def beginnings(self) -> Mapping[str, tuple[int, ...]]:
        """Return by topic the first offset that is still there, of each partition, where any is above 0."""


async def cut_of(source: Source) -> str:
    """Return for people which topics begin behind their start, and where; empty where none does."""
    cut = await source.beginnings()
    return "".join(f"; {topic} begins at offsets {', '.join(map(str, at))}" for topic, at in cut.items())


class EventsSource:
    """The topics of events from their beginning, partitions of the same number together."""

    whole_record = True

    def __init__(self, eventlog: Log) -> None:
        self._eventlog = eventlog

    async def load(self, side: Side, progress: Progress) -> int:
        """See Source."""
        noted = await noted_offsets(side)
        states = await self._eventlog.topics()
        numbers = [states[topic.name].partitions for topic in EVENT_TOPICS if topic.name in states]
        chunked = events_in_place if side.embedded else events_in_bulk
        readers: list[Reader] = []
        try:
            for partition in range(max(numbers, default=1)):
                reader = await self._eventlog.reader(EVENT_TOPICS, [partition])
                readers.append(reader)
                there = reader.positions()
                reader.seek({place: at for place, at in noted.items() if place in there})
            pairs = [(reader, await patiently(reader.end_offsets)) for reader in readers]
            progress.step("load", sum(missing(reader, ends) for reader, ends in pairs))
            async with asyncio.TaskGroup() as tasks:
                loads = [
                    tasks.create_task(load(side, reader, ends, progress.advance, chunked))
                    for reader, ends in pairs
                ]
            return sum(each.result() for each in loads)
        finally:
            for reader in readers:
                await reader.close()

    async def reader(self, side: Side) -> Reader:
        """See Source."""
        reader = await self._eventlog.reader(EVENT_TOPICS)
        reader.seek(
            {place: at for place, at in (await noted_offsets(side)).items() if place in reader.positions()}
        )
        return reader

    async def beginnings(self) -> Mapping[str, tuple[int, ...]]:
        """See Source."""
        states = await self._eventlog.topics()
        return {
            topic.name: states[topic.name].earliest
            for topic in EVENT_TOPICS
            if any(offset > 0 for offset in states[topic.name].earliest)
        }


class StateSource(EventsSource):
    """The states of messages, and the topics of events for what states do not tell."""

    whole_record = False

    async def load(self, side: Side, progress: Progress) -> int:
        """See Source."""
        progress.step("load")
        return await load_states(side, self._eventlog, progress.advance)
