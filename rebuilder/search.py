"""Rebuilds the search index: folds the log into a fresh index, proves it, swaps the alias.

Guarantees: searches see no gap, the live index is never written to; the alias moves only once the
digests of the fold and of a scan of the new index agree, no record was left out and the log holds
every message that the database told it; whatever was
written to the old index while the alias moved is in the new one when this returns. Interrupted
before the swap, the alias stays where it was and the new index is dropped, now or at the next rebuild.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, Reader, TopicPartition
from backbone.progress import Progress
from backbone.search import ItemFailure, SearchIndex
from rebuilder.digest import Digests, message_hash
from rebuilder.patience import patiently
from rebuilder.replay import PROBLEMS_NAMED, Replay
from rebuilder.report import Counts, Outcome, Report, Source
from schemas.documents import IndexedDocument
from schemas.topics import GROUP_INDEXER, MESSAGE_TOPICS, MESSAGES_STATE

# Searches that began on the old index are given this long to end before it is dropped.
DROP_GRACE_S = 2.0
_SCAN_STEP = 500

log = structlog.get_logger()


class NotProven(Exception):
    """The new index must not be swapped in; the text says why."""


@dataclass(frozen=True)
class _Readers:
    """What is read: the state topic from its beginning, unless only events are; then the event topics.

    The event topics are read from their beginning too, except from state alone: then from their ends
    as they were before the state topic was read, for the state topic holds all that lies before.
    """

    state: Reader | None
    events: Reader

    @property
    def all(self) -> dict[str, Reader]:
        readers = {} if self.state is None else {MESSAGES_STATE.name: self.state}
        return {**readers, "messages.*": self.events}


async def rebuild_search(
    eventlog: EventLog,
    search: SearchIndex,
    source: Source,
    dry_run: bool,
    progress: Progress,
    keep: bool = False,
    told: int = 0,
) -> Report:
    """Rebuild, or with `dry_run` only fold the log and compare it with the live index.

    `both` reads the state topic, which brings most messages in their last version, and then every
    event; `state` trusts the state topic for all that was written before the rebuild began; `events`
    reads only events. `keep` leaves the old index in place. `told` is the number of messages that the
    log must hold at the least. Raises Unavailable, or SetupError when topics are missing.
    """
    rebuild = _Rebuild(eventlog, search, source, progress, told)
    async with _open_readers(eventlog, source) as readers:
        if dry_run:
            return await rebuild.compare_with_live(readers)
        return await rebuild.run(readers, keep)


@asynccontextmanager
async def _open_readers(eventlog: EventLog, source: Source) -> AsyncIterator[_Readers]:
    async with AsyncExitStack() as stack:
        events = await eventlog.reader(MESSAGE_TOPICS)
        stack.push_async_callback(events.close)
        if source == "events":
            yield _Readers(None, events)
            return
        if source == "state":
            await patiently(events.seek_to_end)
        state = await eventlog.reader((MESSAGES_STATE,))
        stack.push_async_callback(state.close)
        yield _Readers(state, events)


class _Rebuild:
    """One rebuild: its place in the log, its new index, and what it found."""

    def __init__(
        self, eventlog: EventLog, search: SearchIndex, source: Source, progress: Progress, told: int
    ) -> None:
        self._told = told
        self._eventlog = eventlog
        self._search = search
        self._source: Source = source
        self._progress = progress
        self._started = time.monotonic()
        self._index: str | None = None
        self._index_before: str | None = None
        self._swapped = False
        self._differing: tuple[str, ...] = ()
        self._replay = Replay(self._put, progress)

    async def run(self, readers: _Readers, keep: bool) -> Report:
        """Build, prove, swap, follow, drop."""
        self._index_before = await self._search.current()
        await self._drop_leftovers()
        index = self._index = await self._search.create_next()
        log.info("rebuild_index_made", index=index)
        try:
            await self._read_to_the_ends(readers, "read")
            await self._prove(index)
            await self._read_to_the_ends(readers, "catch up")
            self._check_problems()
            # What is put in is visible at once: no message that searches found is missing for a moment.
            await patiently(lambda: self._search.refresh(index))
            return await _uninterrupted(self._swap_and_follow(readers, index, keep))
        except NotProven as error:
            return self._report(readers, "refused", reason=str(error))
        finally:
            if not self._swapped:
                await self._discard(index)

    async def compare_with_live(self, readers: _Readers) -> Report:
        """Fold the log and scan the live index; store nothing anywhere."""
        self._index_before = await self._search.current()
        await self._read_to_the_ends(readers, "read")
        live = Digests() if self._index_before is None else await self._scan(self._index_before)
        self._differing = tuple(self._replay.fold.digests.differing(live))
        return self._report(readers, "dry run")

    async def _swap_and_follow(self, readers: _Readers, index: str, keep: bool) -> Report:
        """Swap, bring in what went to the old index while the alias moved, then drop that."""
        await patiently(lambda: self._search.swap(index))
        self._swapped = True
        log.info("rebuild_swapped", index=index, index_before=self._index_before)
        try:
            await self._read_to_the_ends(readers, "follow")
            await patiently(lambda: self._search.refresh(index))
            dropped = () if keep else await self._drop_older(index)
        except Unavailable as error:
            raise Unavailable(
                error.dependency,
                f"{error.detail}; the alias is on {index}, which may lack the last messages: rebuild again",
            ) from error
        if self._replay.problem_count:
            log.warning("rebuild_left_out", problems=[str(problem) for problem in self._replay.problems])
        return self._report(readers, "swapped", dropped=dropped)

    async def _read_to_the_ends(self, readers: _Readers, step: str) -> None:
        """Read each topic to its end as it is now, and at least to where the indexer has come."""
        committed = await patiently(lambda: self._eventlog.committed(GROUP_INDEXER, MESSAGE_TOPICS))
        for topic, reader in readers.all.items():
            ends = await patiently(reader.end_offsets)
            at_least = {partition: max(end, committed.get(partition, 0)) for partition, end in ends.items()}
            await self._replay.read_to(reader, at_least, f"{step} {topic}")

    async def _prove(self, index: str) -> None:
        """Compare the fold with the record and with a scan of the index. Raises NotProven."""
        self._check_problems()
        self._check_whole()
        await patiently(lambda: self._search.refresh(index))
        scanned = await self._scan(index)
        self._differing = tuple(self._replay.fold.digests.differing(scanned))
        if self._differing:
            raise NotProven(f"{index} differs from the log; channels that differ: {len(self._differing):,}")

    def _check_whole(self) -> None:
        held = self._replay.fold.digests.messages
        if held < self._told:
            raise NotProven(f"the log holds {held:,} of the {self._told:,} messages that it was told")

    def _check_problems(self) -> None:
        if self._replay.problem_count:
            raise NotProven(f"records that cannot be read or applied: {self._replay.problem_count:,}")
        if outlived := self._replay.outlived:
            raise NotProven(
                f"the log lost deletions to compaction while it was read: {outlived:,}; rebuild again"
            )

    async def _scan(self, index: str) -> Digests:
        self._progress.step(f"check {index}", self._replay.fold.digests.messages)
        digests = Digests()
        seen = 0
        async for message_id, document in self._search.scan(index):
            digests.add(document.channel, message_hash(message_id, document), document.deleted)
            seen += 1
            if seen % _SCAN_STEP == 0:
                self._progress.advance(_SCAN_STEP)
                # A scan that finds its pages at hand would never let others work.
                await asyncio.sleep(0)
        self._progress.advance(seen % _SCAN_STEP)
        return digests

    async def _put(self, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        if self._index is None:
            return []
        return await self._search.put(documents, index=self._index)

    async def _drop_leftovers(self) -> None:
        """Drop what an unfinished rebuild left: every index that is newer than the live one."""
        names = await self._search.indices()
        if self._index_before in names:
            for name in names[names.index(self._index_before) + 1 :]:
                log.info("rebuild_leftover_dropped", index=name)
                await self._search.drop(name)

    async def _drop_older(self, index: str) -> tuple[str, ...]:
        names = await self._search.indices()
        older = tuple(names[: names.index(index)])
        if older:
            self._progress.step(f"drop {', '.join(older)}")
            await asyncio.sleep(DROP_GRACE_S)
        for name in older:
            await self._search.drop(name)
        return older

    async def _discard(self, index: str) -> None:
        try:
            # A swap whose answer was lost may have been done all the same.
            if await self._search.current() != index:
                await self._search.drop(index)
        except Unavailable as error:
            log.warning("rebuild_leftover_stays", index=index, reason=str(error))

    def _report(
        self, readers: _Readers, outcome: Outcome, reason: str | None = None, dropped: tuple[str, ...] = ()
    ) -> Report:
        replay, digests = self._replay, self._replay.fold.digests
        return Report(
            source=self._source,
            outcome=outcome,
            reason=reason,
            index_before=self._index_before,
            index=self._index,
            dropped=dropped,
            offsets=_by_topic(readers),
            counts=Counts(
                records=replay.records.total(),
                applied=replay.applied,
                messages=digests.messages,
                deleted=digests.deleted,
                channels=digests.channels,
                differing_channels=len(self._differing),
                problems=replay.problem_count,
            ),
            digests=digests.as_text(),
            differing_channels=self._differing[:PROBLEMS_NAMED],
            problems=tuple(replay.problems),
            seconds=round(time.monotonic() - self._started, 3),
        )


async def _uninterrupted(work: Coroutine[Any, Any, Report]) -> Report:
    """Finish `work` even when cancelled meanwhile; the cancellation takes effect after it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _by_topic(readers: _Readers) -> dict[str, list[int]]:
    """Return the next offsets to read, by topic, in the order of the partitions."""
    offsets: dict[str, list[int]] = {}
    for reader in readers.all.values():
        positions: Mapping[TopicPartition, int] = reader.positions()
        for partition in sorted(positions):
            offsets.setdefault(partition.topic, []).append(positions[partition])
    return offsets
