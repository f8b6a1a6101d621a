"""The indexer: events through a log into an index, on both sets of adapters."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, NewRecord, Record
from backbone.eventlog.applying import Taken
from backbone.health import Health
from backbone.search import IndexedDocument, Rights, SearchIndex, SearchQuery
from backbone.settings import Settings
from indexer.projection import document_of_event
from indexer.service import Indexer
from schemas.events import MessageDeleted, MessagesEvent, MessageUpdated, encode
from schemas.topics import (
    ALL_TOPICS,
    DEAD_LETTERS,
    GROUP_INDEXER,
    MESSAGE_TOPICS,
    MESSAGES_CREATED,
    TOPIC_OF_EVENT,
    Topic,
)
from tests.conftest import ADAPTERS
from tests.support.eventlog import append, log_site, read_all
from tests.support.messaging import Talk, records_of, tell
from tests.support.search import ids, search_site


@dataclass
class Stage:
    """A log with its topics, an index with its alias, and an indexer between them."""

    log: EventLog
    search: SearchIndex
    indexer: Indexer
    health: Health

    async def tell(self, events: Sequence[MessagesEvent]) -> None:
        """Append events to their topics."""
        await tell(self.log, events)

    async def append(self, topic: Topic, *values: bytes | None) -> None:
        """Append records of any value, under one key."""
        await append(self.log, [NewRecord(topic.name, "c", "c", value) for value in values])

    async def caught_up(self) -> dict[str, IndexedDocument]:
        """Step until the group has committed the end of every topic; return what the index holds."""
        topics = await self.log.topics()
        ends = sum(sum(topics[topic.name].end) for topic in MESSAGE_TOPICS)
        while sum((await self.log.committed(GROUP_INDEXER, MESSAGE_TOPICS)).values()) < ends:
            await self.indexer.step()
        await self.search.refresh()
        return {found.message_id: found async for found in self.search.scan()}


def _as_read(event: MessagesEvent) -> Record:
    record, _ = records_of(event)
    return Record(record.topic, 0, event.sequence, record.key, record.value, record.headers, event.timestamp)


def _folded(events: Sequence[MessagesEvent]) -> dict[str, IndexedDocument]:
    """Return the document of each message's newest event."""
    newest = sorted(events, key=lambda event: event.sequence)
    return {event.payload.message_id: document_of_event(event) for event in newest}


@pytest.fixture(params=ADAPTERS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """An empty stage."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with AsyncExitStack() as stack:
        log = (await stack.enter_async_context(log_site(settings))).open()
        search = (await stack.enter_async_context(search_site(settings))).open()
        await log.apply_topics(ALL_TOPICS, 3)
        await search.ensure()
        health = Health("eventlog", "search")
        indexer = Indexer(log, search, health)
        stack.push_async_callback(indexer.close)
        yield Stage(log, search, indexer, health)


def _conversation() -> list[MessagesEvent]:
    """Six channels, one of them private; messages with edits and deletions."""
    chance = random.Random(3)
    events: list[MessagesEvent] = []
    for number in range(6):
        talk = Talk(f"채널 {number}", private=number == 0)
        for post in range(8):
            posted = talk.post(f"배포 {post} deployed", ["lee"] if post % 2 else [])
            events.append(posted)
            message_id = posted.payload.message_id
            events += [talk.edit(message_id, f"고침 {edit}") for edit in range(chance.randint(0, 3))]
            if chance.random() < 0.3:
                events.append(talk.delete(message_id))
    return events


async def test_what_was_told_is_found(stage: Stage) -> None:
    """Given a post, an edit and a deletion, the index holds each message as its last event left it."""
    talk = Talk("general")
    kept, edited, deleted = (talk.post(text) for text in ("배포를 완료했습니다", "처음", "지울 것"))
    events: list[MessagesEvent] = [kept, edited, deleted]
    events += [talk.edit(edited.payload.message_id, "Deployed it"), talk.delete(deleted.payload.message_id)]
    await stage.tell(events)
    assert await stage.caught_up() == _folded(events)
    assert await ids(stage.search, SearchQuery(words=("배포",))) == {kept.payload.message_id}
    assert await ids(stage.search, SearchQuery(words=("deploy",))) == {edited.payload.message_id}
    assert await ids(stage.search, SearchQuery(words=("처음",))) == set()
    assert await ids(stage.search, SearchQuery(channels=("general",), sort="newest")) == {
        kept.payload.message_id,
        edited.payload.message_id,
    }
    assert stage.health.readiness().ready


async def test_a_private_channel_stays_private(stage: Stage) -> None:
    """The event says that its channel is private, and so does the document."""
    posted = Talk("secret", private=True).post("비밀")
    await stage.tell([posted])
    await stage.caught_up()
    assert await ids(stage.search, SearchQuery(words=("비밀",))) == set()
    assert await ids(stage.search, SearchQuery(words=("비밀",)), Rights(("secret",))) == {
        posted.payload.message_id
    }


@pytest.mark.parametrize("seed", [1, 2])
async def test_order_and_repetition_do_not_matter(stage: Stage, seed: int) -> None:
    """Given all events shuffled, every one of them twice and in several batches, the index is the same."""
    events = _conversation()
    told = events * 2
    random.Random(seed).shuffle(told)
    for start in range(0, len(told), 90):
        await stage.tell(told[start : start + 90])
        await stage.indexer.step()
    assert await stage.caught_up() == _folded(events)


async def test_an_unreadable_record_is_parked_and_its_neighbours_are_indexed(stage: Stage) -> None:
    """Given garbage, another kind of event and an impossible date, its channel waits and others go on."""
    talk = Talk("c")
    before, broken, behind = talk.post("앞"), talk.post("부서진"), talk.post("뒤")
    after = Talk("d").post("다른 채널")
    await stage.tell([before])
    impossible = encode(broken).replace(broken.payload.created_at.encode(), b"2026-02-31T00:00:00.000Z")
    activity = b'{"event_type":"user.activity","event_id":"e","timestamp":1,"payload":{}}'
    await stage.append(MESSAGES_CREATED, b"\xff\x00 garbage", activity, None, impossible)
    await stage.tell([behind, after])
    assert await stage.caught_up() == _folded([before, after])
    parked = await read_all(stage.log, DEAD_LETTERS)
    assert len(parked) == 4
    assert all((letter.key or "").startswith(f"{GROUP_INDEXER}/") for letter in parked)


async def test_a_version_that_is_refused_leaves_the_one_before(stage: Stage) -> None:
    """Given an edit that the index never takes, in one batch with the post, the post is found."""
    talk = Talk("c")
    posted = talk.post("원래 글")
    edited = talk.edit(posted.payload.message_id, "고친 글")
    impossible = encode(edited).replace(edited.payload.updated_at.encode(), b"2026-02-31T00:00:00.000Z")
    await stage.tell([posted])
    await stage.append(TOPIC_OF_EVENT["message.updated"], impossible)
    assert await stage.caught_up() == _folded([posted])


async def test_without_the_index_nothing_is_lost(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an index that is away, no offset moves; once it is back the same events are applied."""
    posted = Talk("c").post("기다린 글")
    await stage.tell([posted])

    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("search", "away")

    with monkeypatch.context() as patched:
        patched.setattr(stage.search, "put", away)
        with pytest.raises(Unavailable):
            await stage.caught_up()
    committed = await stage.log.committed(GROUP_INDEXER, MESSAGE_TOPICS)
    assert set(committed.values()) <= {0}
    assert await stage.caught_up() == _folded([posted])


async def test_a_batch_sends_each_message_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a message's versions in one batch only the newest goes to the index."""
    talk = Talk("c")
    posted = talk.post("하나")
    message_id = posted.payload.message_id
    edits: list[MessageUpdated] = [talk.edit(message_id, f"{number}") for number in range(3)]
    gone: MessageDeleted = talk.delete(message_id)
    sent: list[list[int]] = []
    put = stage.search.put

    async def counted(documents: Sequence[IndexedDocument], index: str | None = None) -> Any:
        sent.append([document.version for _, document in documents])
        return await put(documents, index)

    monkeypatch.setattr(stage.search, "put", counted)
    batch = [Taken(_as_read(event), event) for event in (gone, edits[2], posted, edits[0], edits[1])]
    assert await stage.indexer.handle(batch) == []
    assert sent == [[gone.payload.version]]
