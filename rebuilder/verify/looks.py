"""Looks at channels that differ: what is late is told from what is wrong, message by message.

Guarantees: a message is named only when a store held, in two looks in a row, what it could not hold: less
than it had applied, more than there was even afterwards, or something else under the same version. Looks end
when nothing is left to be found out, or when the time is up; what the index has still not applied then
is behind, and no difference. In memory are the rows of the channels that are looked at, a part at a time.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from sys import intern

from backbone.eventlog import EventLog, Reader, TopicPartition
from rebuilder.patience import patiently
from rebuilder.verify.canonical import marks_of
from rebuilder.verify.folding import Details, EventFold, Row, Rows, StateFold, row_of, row_of_document
from rebuilder.verify.judging import Holdings, Verdict, judge
from rebuilder.verify.reading import ArchiveSource, Coverage, read_on
from rebuilder.verify.stores import DatabaseSource, IndexSource
from schemas.topics import GROUP_INDEXER, MESSAGE_TOPICS, MESSAGES_STATE

AGAIN_S = 0.2
EVENT_TOPICS = tuple(topic.name for topic in MESSAGE_TOPICS)


@dataclass(frozen=True)
class Stores:
    """What is looked at, and the bounds of that: see Sweep. `until_s` is of the loop's clock.

    `coverage` is what the sweep could read of the archive.
    """

    eventlog: EventLog
    database: DatabaseSource
    index: IndexSource
    archive: ArchiveSource | None
    coverage: Mapping[TopicPartition, Coverage]
    partitions: int
    purged_before: str
    patience_s: float
    until_s: float


@dataclass(frozen=True)
class Outcome:
    """What is wrong, and all that the stores hold of it; `unapplied`: versions that the index lacks yet."""

    holdings: Holdings
    wrong: Mapping[str, frozenset[str]]
    unapplied: Mapping[str, int]


async def look_at(stores: Stores, partitions: Collection[int], channels: Collection[str]) -> Outcome:
    """Look at some channels, which lie in these partitions, until what they are is known."""
    async with AsyncExitStack() as stack:
        events = await stores.eventlog.reader(MESSAGE_TOPICS, partitions)
        stack.push_async_callback(events.close)
        states = await stores.eventlog.reader((MESSAGES_STATE,), partitions)
        stack.push_async_callback(states.close)
        begin = await beginnings(stores.eventlog, events)
        looks = _Looks(stores, partitions, channels, events, states, begin)
        await looks.read_archive()
        return await looks.run()


async def beginnings(eventlog: EventLog, reader: Reader) -> dict[TopicPartition, int]:
    """Return where the log begins, of the partitions that a reader which was just opened reads."""
    topics = await eventlog.topics()
    return {
        place: max(at, topics[place.topic].earliest[place.partition])
        for place, at in reader.positions().items()
    }


class _Looks:
    """Looks at channels, one after the other, over two folds that go on."""

    def __init__(
        self,
        stores: Stores,
        partitions: Collection[int],
        channels: Collection[str],
        events: Reader,
        states: Reader,
        earliest: Mapping[TopicPartition, int],
    ) -> None:
        self._stores = stores
        self._partitions = partitions
        self._channels = frozenset(channels)
        self._event_reader, self._state_reader = events, states
        self._earliest = earliest
        coverage = stores.coverage
        whole_from = {
            place: coverage[place].whole_from(begin) if place in coverage else begin
            for place, begin in earliest.items()
        }
        self._fold = EventFold(self._channels, whole_from)
        self._states = StateFold(self._channels)
        # Of the past, which only the archive has, the same lacks as of the log.
        self._archived = EventFold(self._channels, whole_from, first=self._fold.first)
        self._coverage: dict[TopicPartition, Coverage] = {}

    async def read_archive(self) -> None:
        """Fold what the archive holds; what it gets later does not matter."""
        archive = self._stores.archive
        if archive is None:
            return
        for place in await archive.places(EVENT_TOPICS):
            if place.partition in self._partitions:
                self._coverage[place] = await archive.read(*place, self._archived.take)

    async def run(self) -> Outcome:
        """Look until nothing is left to be found out; see the module."""
        holdings = await self._look(self._channels)
        verdict, confirmed = judge(holdings, None, {}), Verdict()
        while verdict.wrong or verdict.unapplied:
            if not verdict.wrong and not await self._applied(verdict, holdings):
                break
            await asyncio.sleep(AGAIN_S)
            before, messages = verdict, {*verdict.wrong, *verdict.unapplied}
            holdings = await self._look(self._channels_of(holdings, messages))
            verdict = judge(holdings, messages, before.unapplied)
            both = {
                each: stores & before.wrong.get(each, frozenset()) for each, stores in verdict.wrong.items()
            }
            confirmed.wrong = {each: stores for each, stores in both.items() if stores}
            if confirmed.wrong == verdict.wrong and not await self._applied(verdict, holdings):
                break
        return Outcome(holdings, confirmed.wrong, verdict.unapplied)

    async def _applied(self, verdict: Verdict, holdings: Holdings) -> bool:
        """Wait until the indexer may have applied something of what it lacks; say if that is so."""
        places = [_place(holdings.early[each]) for each in verdict.unapplied]
        now_s = asyncio.get_running_loop().time
        while places and now_s() < self._stores.until_s:
            committed = await self._committed()
            if all(at is None or committed.get(at[0], 0) > at[1] for at in places):
                return True
            await asyncio.sleep(AGAIN_S)
        return False

    async def _look(self, channels: Collection[str]) -> Holdings:
        """Read the log, then the stores, then what came to the log meanwhile."""
        await self._read_events(undecided=False)
        early = dict(self._fold.rows)
        applied = await self._committed()
        async with asyncio.TaskGroup() as tasks:
            database = tasks.create_task(self._in_database(channels, early))
            index = tasks.create_task(self._in_index(channels, early))
            tasks.create_task(self._read_states())
        # What has left the outbox by now is in the log before its ends are asked for.
        untold = await self._stores.database.untold(channels)
        await self._read_events(undecided=True)
        archived = self._archived.rows
        return Holdings(
            early=early,
            late=dict(self._fold.rows),
            untold=untold,
            past={each: row for each, row in archived.items() if self._is_past(row)},
            database=database.result(),
            state=dict(self._states.rows),
            index=index.result(),
            archive=archived,
            tombstones=self._states.tombstones,
            applied=applied,
            earliest=self._earliest,
            coverage=self._coverage or None,
            history_lost=await self._stores.database.history_lost(),
            purged_before=self._stores.purged_before,
            partitions=self._stores.partitions,
            fold=self._fold,
        )

    async def _read_events(self, *, undecided: bool) -> None:
        reader, patience_s = self._event_reader, self._stores.patience_s
        ends = await patiently(lambda: reader.end_offsets(undecided), patience_s)
        await read_on(reader, ends, self._fold.take, patience_s)

    async def _read_states(self) -> None:
        reader, patience_s = self._state_reader, self._stores.patience_s
        # A state becomes visible with its event, but perhaps a moment later.
        ends = await patiently(lambda: reader.end_offsets(undecided=True), patience_s)
        await read_on(reader, ends, self._states.take, patience_s)

    # Where a store holds what the log does, the log's row stands for its own: one takes less room than two.

    async def _in_database(self, channels: Collection[str], early: Rows) -> dict[str, Row]:
        held: dict[str, Row] = {}
        async for message_id, facts in self._stores.database.messages(channels):
            row, known = row_of(message_id, facts), early.get(message_id)
            if known is None or known.whole != row.whole:
                known = row._replace(details=Details(marks_of(facts)))
            held[intern(message_id)] = known
        return held

    async def _in_index(self, channels: Collection[str], early: Rows) -> dict[str, Row]:
        held: dict[str, Row] = {}
        async for message_id, document in self._stores.index.documents():
            if document.channel in channels:
                row, known = row_of_document(message_id, document), early.get(message_id)
                if known is None or known.as_indexed != row.as_indexed:
                    known = row
                held[intern(message_id)] = known
        return held

    async def _committed(self) -> Mapping[TopicPartition, int]:
        eventlog = self._stores.eventlog
        return await patiently(
            lambda: eventlog.committed(GROUP_INDEXER, MESSAGE_TOPICS), self._stores.patience_s
        )

    def _is_past(self, row: Row) -> bool:
        at = _place(row)
        return at is not None and at[1] < self._earliest.get(at[0], 0)

    def _channels_of(self, holdings: Holdings, messages: Collection[str]) -> frozenset[str]:
        """Return the channels that the stores say the messages are of."""
        stores = (holdings.late, holdings.database, holdings.state, holdings.index, holdings.archive)
        rows = (store.get(each) for store in stores for each in messages)
        return frozenset(row.channel for row in rows if row is not None)


def _place(row: Row) -> tuple[TopicPartition, int] | None:
    place = row.details and row.details.place
    return (TopicPartition(place.topic, place.partition), place.offset) if place else None
