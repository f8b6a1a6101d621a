"""Histories of messages by chance, and a platform that tells and indexes them."""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from backbone.errors import Busy
from backbone.eventlog import EventLog, NewRecord, TopicPartition
from backbone.health import Health
from backbone.search import SearchIndex
from indexer.projection import document_of_event
from indexer.service import Indexer
from schemas.documents import SearchDocument
from schemas.events import MessagesEvent
from schemas.topics import ALL_TOPICS, GROUP_INDEXER, MESSAGE_TOPICS
from tests.support.eventlog import append
from tests.support.messaging import Talk, tell

WORDS = ("배포를 완료했습니다", "the release is out", "검색 색인", "review this", "🎉")


def history(seed: int, messages: int = 120, channels: Sequence[str] = ("일반", "ops", "비밀")) -> "History":
    """Return a history of posts, edits and deletions by chance; `비밀` is a private channel."""
    made = History(random.Random(seed), [Talk(name, private=name == "비밀") for name in channels])
    made.go_on(messages)
    return made


@dataclass
class History:
    """Events, as they were made, and what a search index must hold of them."""

    chance: random.Random
    talks: list[Talk]
    events: list[MessagesEvent] = field(default_factory=list)
    expected: dict[str, SearchDocument] = field(default_factory=dict)
    _live: list[tuple[Talk, str]] = field(default_factory=list)

    def go_on(self, messages: int) -> list[MessagesEvent]:
        """Make that many more messages, and return their events, edits and deletions among them."""
        before = len(self.events)
        for _ in range(messages):
            self._post()
            if self._live and self.chance.random() < 0.4:
                self._change()
        return self.events[before:]

    def _post(self) -> None:
        talk = self.chance.choice(self.talks)
        text = f"{self.chance.choice(WORDS)} {len(self.events)}"
        event = talk.post(text, self.chance.sample(("bora", "지훈", "alex"), self.chance.randrange(3)))
        self._live.append((talk, event.payload.message_id))
        self._happened(event)

    def _change(self) -> None:
        talk, message_id = self.chance.choice(self._live)
        if self.chance.random() < 0.7:
            self._happened(talk.edit(message_id, f"{self.chance.choice(WORDS)} edited", ["bora"]))
        else:
            self._live.remove((talk, message_id))
            self._happened(talk.delete(message_id))

    def _happened(self, event: MessagesEvent) -> None:
        message_id, document = document_of_event(event)
        self.events.append(event)
        self.expected[message_id] = document


@dataclass
class Platform:
    """A log and an index, with a writer and an indexer in the test's hand."""

    eventlog: EventLog
    search: SearchIndex

    async def set_up(self) -> None:
        """Make the topics and the first index."""
        await self.eventlog.apply_topics(ALL_TOPICS, 3)
        await self.search.ensure()

    async def tell(self, events: Sequence[MessagesEvent]) -> None:
        """Append events and states to the log."""
        await tell(self.eventlog, events)

    async def append(self, *records: NewRecord) -> None:
        """Append records, whatever they hold."""
        await append(self.eventlog, records)

    async def index_everything(self) -> None:
        """Let an indexer read the log to its end as it is now."""
        indexer = Indexer(self.eventlog, self.search, Health("eventlog", "search"))
        try:
            while not await self._indexed():
                # What waits for a swap is tried again, as the process does.
                with suppress(Busy):
                    await indexer.step()
        finally:
            await indexer.close()

    async def documents(self, index: str | None = None) -> dict[str, SearchDocument]:
        """Return all documents that searches could see, deleted ones too."""
        await self.search.refresh(index)
        return dict([indexed async for indexed in self.search.scan(index)])

    async def _indexed(self) -> bool:
        ends = await self._ends()
        committed = await self.eventlog.committed(GROUP_INDEXER, MESSAGE_TOPICS)
        return all(committed[place] >= ends[place] for place in committed)

    async def _ends(self) -> dict[TopicPartition, int]:
        topics = await self.eventlog.topics()
        return {
            TopicPartition(topic.name, partition): end
            for topic in MESSAGE_TOPICS
            for partition, end in enumerate(topics[topic.name].end)
        }
