"""Compaction of the state topic, on every event log: what it leaves reads as the fold of the events.

On Kafka the cleaner is made to run by settings of the topic, and waited for by marks: a mark that is gone
was passed by the cleaner, and so was everything before it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest

from backbone.eventlog import EventLog, NewRecord, Reader, Record
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.settings import Settings
from schemas.events import MessagesEvent, encode
from schemas.states import decode_state, state_after
from schemas.topics import DAY_MS, MESSAGES_STATE, REPLAY_HORIZON_MS, partition_of
from tests.conftest import ADAPTERS
from tests.support.eventlog import LogSite, append, configure, log_site, read_all, read_to_end
from tests.support.messaging import Talk, records_of
from tests.support.waiting import until

PARTITIONS = 3
CHANNELS = ("일반", "배포", "ops", "random", "c")
# About two seconds a pass where the cleaner looks every second; its default is every 15 s.
PASS_WITHIN_S = 50


class Cleaner(Protocol):
    """Thins the state topic out as its log does."""

    @property
    def log(self) -> EventLog:
        """The log with the topic."""

    async def clean(self) -> None:
        """Compact everything that was appended so far."""

    async def keep_tombstones(self, *, long: bool) -> None:
        """Let those that are appended from now on be kept for the replay horizon, or for a moment."""

    async def pass_the_moment(self) -> None:
        """Let the time pass for which tombstones are kept for a moment."""


class EmbeddedCleaner:
    """Compacts when asked; its clock is set by hand."""

    def __init__(self, settings: Settings) -> None:
        self._now_ms = 1_800_000_000_000
        path = settings.data / "compacted.sqlite3"
        self.log = EmbeddedEventLog(path, settings.topic_prefix, now_ms=lambda: self._now_ms)

    async def clean(self) -> None:
        await self.log.compact(MESSAGES_STATE)

    async def keep_tombstones(self, *, long: bool) -> None:
        """Here time goes by, and the horizon stays."""

    async def pass_the_moment(self) -> None:
        self._now_ms += REPLAY_HORIZON_MS + DAY_MS


class KafkaCleaner:
    """Lets the broker's own cleaner work."""

    def __init__(self, site: LogSite) -> None:
        self.log = site.open()
        self._settings = site.settings
        self._passes = 0

    async def clean(self) -> None:
        first_marks = await self._mark()

        async def passed() -> bool:
            # The active segment is never cleaned: another mark begins the next one.
            await self._mark()
            offsets = {(r.partition, r.offset) for r in await read_all(self.log, MESSAGES_STATE)}
            return offsets.isdisjoint(first_marks)

        await until(passed, within_s=PASS_WITHIN_S, every_s=0.2)

    async def keep_tombstones(self, *, long: bool) -> None:
        kept_ms = REPLAY_HORIZON_MS if long else 1
        quickly = {"segment.ms": "50", "min.cleanable.dirty.ratio": "0.01"}
        kept = {"cleanup.policy": "compact", "delete.retention.ms": str(kept_ms)}
        await configure(self._settings, MESSAGES_STATE, {**kept, **quickly})

    async def pass_the_moment(self) -> None:
        # The first pass notes on them how long they stay.
        await self.clean()

    async def _mark(self) -> set[tuple[int, int]]:
        """Append a mark to each partition; return where the last one of each lies."""
        await append(
            self.log, [NewRecord(MESSAGES_STATE.name, _mark_of(n), key, b"") for n, key in _KEY_IN.items()]
        )
        marks = [r for r in await read_all(self.log, MESSAGES_STATE) if r.key == _mark_of(r.partition)]
        return set({r.partition: (r.partition, r.offset) for r in marks}.values())


_KEY_IN = {partition_of(str(n), PARTITIONS): str(n) for n in range(50)}


def _mark_of(partition: int) -> str:
    return f"mark-{partition}"


@dataclass
class Place:
    """Where a record lies, and what it holds."""

    partition: int
    offset: int
    value: bytes | None
    timestamp_ms: int


@pytest.fixture(params=ADAPTERS)
async def cleaner(request: pytest.FixtureRequest) -> AsyncIterator[Cleaner]:
    """A log with an empty state topic whose last records are compacted, too."""
    settings: Settings = request.getfixturevalue(f"{request.param}_settings")
    async with log_site(settings) as site:
        cleaner = EmbeddedCleaner(settings) if site.embedded else KafkaCleaner(site)
        await cleaner.log.apply_topics([MESSAGES_STATE], PARTITIONS)
        yield cleaner
        await cleaner.log.close()


@dataclass
class History:
    """Events of many messages, and of which message's deletion the horizon has passed."""

    events: list[MessagesEvent]
    long_gone: list[str]
    just_past: list[str]

    @property
    def fold(self) -> dict[str, bytes | None]:
        """Each message's last state; a tombstone that is new, and nothing where an old one went."""
        states: dict[str, bytes | None] = {}
        for event in self.events:
            states[event.payload.message_id] = encode(state_after(event))
        states |= dict.fromkeys(self.just_past)
        return {message_id: state for message_id, state in states.items() if message_id not in self.long_gone}


def history() -> History:
    """Some messages of each channel: posted, edited twice, or deleted after an edit."""
    made = History([], [], [])
    for channel in CHANNELS:
        talk = Talk(channel)
        for n in range(12):
            posted = talk.post(f"{channel} {n}")
            message_id = posted.payload.message_id
            made.events.append(posted)
            made.events += [talk.edit(message_id, f"edited {m}") for m in range(n % 3)]
            if n % 4 == 3:
                made.events.append(talk.delete(message_id))
                {3: made.long_gone, 7: made.just_past}.get(n, []).append(message_id)
    return made


async def tell_states(log: EventLog, events: Sequence[MessagesEvent]) -> None:
    """Append the states behind the events, fenced and in several batches, as a relay does."""
    producer = await log.producer("relay.test")
    records = [records_of(event)[1] for event in events]
    for start in range(0, len(records), 25):
        await producer.send(records[start : start + 25])
    await producer.close()


async def put_tombstones(log: EventLog, made: History, message_ids: Sequence[str]) -> None:
    """Append them in the partitions of their channels."""
    channels = {event.payload.message_id: event.payload.channel_id for event in made.events}
    await append(log, [NewRecord(MESSAGES_STATE.name, each, channels[each], None) for each in message_ids])


async def held(log: EventLog) -> list[Record]:
    """Return what the topic holds of messages, partition by partition."""
    records = [r for r in await read_all(log, MESSAGES_STATE) if not (r.key or "").startswith("mark")]
    return sorted(records, key=lambda record: (record.partition, record.offset))


def last_of(records: Sequence[Record]) -> dict[str, Place]:
    """Return the last record of each key."""
    return {r.key or "": Place(r.partition, r.offset, r.value, r.timestamp_ms) for r in records}


def values(places: Mapping[str, Place]) -> dict[str, bytes | None]:
    return {key: place.value for key, place in places.items()}


async def test_what_compaction_leaves_is_the_fold_of_the_events(cleaner: Cleaner) -> None:
    """Earlier states and old tombstones go, new ones stay, in their places; a second pass changes nothing."""
    made = history()
    await cleaner.keep_tombstones(long=False)
    await tell_states(cleaner.log, made.events)
    await put_tombstones(cleaner.log, made, made.long_gone)
    await cleaner.pass_the_moment()
    await cleaner.keep_tombstones(long=True)
    await put_tombstones(cleaner.log, made, made.just_past)
    before = last_of(await held(cleaner.log))
    await cleaner.clean()

    left = await held(cleaner.log)
    assert len(left) == len(made.fold) < len(made.events)
    assert values(last_of(left)) == made.fold
    deleted = [decode_state(r.value).deleted for r in left if r.value is not None]
    assert (sum(deleted), [r.value for r in left].count(None)) == (len(CHANNELS), len(CHANNELS))
    assert last_of(left) == {key: place for key, place in before.items() if key not in made.long_gone}
    await cleaner.clean()
    assert await held(cleaner.log) == left


async def test_a_reader_in_the_middle_misses_no_last_state(cleaner: Cleaner) -> None:
    """One that has read a part when the log is compacted knows every message's end when it is through."""
    made = history()
    await cleaner.keep_tombstones(long=True)
    await tell_states(cleaner.log, made.events)
    await put_tombstones(cleaner.log, made, made.long_gone + made.just_past)
    made.just_past, made.long_gone = made.long_gone + made.just_past, []
    reader = await cleaner.log.reader([MESSAGES_STATE])
    records: list[Record] = []
    while len(records) < 20:
        records += await reader.read(7, 1.0)
    await cleaner.clean()
    records += await through(reader)
    assert len(await held(cleaner.log)) == len(made.fold)
    assert values(last_of([r for r in records if not (r.key or "").startswith("mark")])) == made.fold


async def through(reader: Reader) -> list[Record]:
    """Read on to the end, a few records at a time."""
    async with asyncio.timeout(10):
        return await read_to_end(reader, max_records=7)
