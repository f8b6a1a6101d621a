"""What a rebuild reads: the topics of messages, each from where its source says."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from backbone.eventlog import Reader, TopicPartition, TopicState
from rebuilder.patience import patiently
from schemas.topics import MESSAGE_TOPICS, MESSAGES_STATE, Topic

Source = Literal["state", "events", "archive", "both"]


class Log(Protocol):
    """As much of an EventLog as a rebuild reads; an archive that goes on in the log looks the same."""

    async def reader(self, topics: Sequence[Topic], partitions: Collection[int] | None = None) -> Reader:
        """See EventLog."""

    async def topics(self) -> Mapping[str, TopicState]:
        """See EventLog."""

    async def committed(self, group: str, topics: Sequence[Topic]) -> Mapping[TopicPartition, int]:
        """See EventLog."""


@dataclass(frozen=True)
class Readers:
    """The state topic from its beginning, unless only events are read; then the event topics.

    The event topics are read from their beginning too, except from state alone: then from their ends
    as they were before the state topic was read, for the state topic holds all that lies before.
    """

    state: Reader | None
    events: Reader

    @property
    def all(self) -> dict[str, Reader]:
        readers = {} if self.state is None else {MESSAGES_STATE.name: self.state}
        return {**readers, "messages.*": self.events}

    def by_topic(self) -> dict[str, list[int]]:
        """Return the next offsets to read, by topic, in the order of the partitions."""
        offsets: dict[str, list[int]] = {}
        for reader in self.all.values():
            positions: Mapping[TopicPartition, int] = reader.positions()
            for partition in sorted(positions):
                offsets.setdefault(partition.topic, []).append(positions[partition])
        return offsets


@asynccontextmanager
async def open_readers(log: Log, source: Source) -> AsyncIterator[Readers]:
    """Open what `source` reads. Raises Unavailable, or SetupError when topics are missing."""
    async with AsyncExitStack() as stack:
        events = await log.reader(MESSAGE_TOPICS)
        stack.push_async_callback(events.close)
        if source in ("events", "archive"):
            yield Readers(None, events)
            return
        if source == "state":
            await patiently(events.seek_to_end)
        state = await log.reader((MESSAGES_STATE,))
        stack.push_async_callback(state.close)
        yield Readers(state, events)
