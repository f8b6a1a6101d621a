"""Where a rebuild of the database reads: the port, and the log as one of its adapters.

An archive of the same records would be another: parts that are read side by side, each from its beginning.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from backbone.eventlog import EventLog, Reader
from schemas.topics import STREAM_TOPICS, USERS_CHANGED, Topic

EVENT_TOPICS = (*STREAM_TOPICS, USERS_CHANGED)


class Source(Protocol):
    """Records in parts: within one, those of a topic and an ordering key are in order."""

    async def parts(self) -> Sequence[int]:
        """Return the numbers of the parts. Raises Unavailable, or SetupError where something is missing."""

    async def open(self, parts: Sequence[int] | None = None) -> Reader:
        """Open a reader at the beginning of these parts, or of all."""

    async def beginnings(self) -> Mapping[str, tuple[int, ...]]:
        """Return by topic the first offset that is still there, of each partition, where any is above 0."""


class LogSource:
    """The topics of the log, a part for each partition's number."""

    def __init__(self, eventlog: EventLog, topics: Sequence[Topic] = EVENT_TOPICS) -> None:
        self._eventlog = eventlog
        self._topics = topics

    async def parts(self) -> Sequence[int]:
        """See Source."""
        states = await self._eventlog.topics()
        numbers = [states[topic.name].partitions for topic in self._topics if topic.name in states]
        return range(max(numbers, default=0))

    async def open(self, parts: Sequence[int] | None = None) -> Reader:
        """See Source."""
        return await self._eventlog.reader(self._topics, parts)

    async def beginnings(self) -> Mapping[str, tuple[int, ...]]:
        """See Source; of a topic that is compacted the first offset tells nothing."""
        states = await self._eventlog.topics()
        return {
            topic.name: states[topic.name].earliest
            for topic in self._topics
            if topic.cleanup == "keep" and any(offset > 0 for offset in states[topic.name].earliest)
        }
