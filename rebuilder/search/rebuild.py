"""Rebuilds the search index: folds the log into another index, proves it, swaps the alias.

Guarantees: searches see no gap, the live index is never written to; the alias moves only once the
digests of the fold and of a scan of the new index agree, no record was left out, the log holds every
message that the database told it, and the new index holds all that was ever put into the live one, for
which writes are held a moment. Killed at any point, one of the two is behind the alias, and whole.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing

import structlog

from backbone.errors import Unavailable
from backbone.progress import Progress
from backbone.search import HELD_MAX_S, ItemFailure, SearchIndex
from rebuilder.archived import Unfit
from rebuilder.digest import Digests, message_hash
from rebuilder.patience import patiently
from rebuilder.readers import Log, Readers, open_readers
from rebuilder.search import checks
from rebuilder.search.checks import NotProven
from rebuilder.search.lateness import Looks
from rebuilder.search.replay import BATCH_RECORDS, PROBLEMS_NAMED, NotStored, Offsets, Replay
from rebuilder.search.report import Counts, Outcome, Report
from rebuilder.search.target import Target, fresh_target, previous_target, unfinished_target
from rebuilder.search.trimmed import what_lacks
from rebuilder.search.ways import Ways
from schemas.clock import format_ms
from schemas.documents import IndexedDocument
from schemas.topics import GROUP_INDEXER, MESSAGE_TOPICS

SWAP_ATTEMPTS = 3
_CATCH_UP_PASSES = 10
_SCAN_STEP = 500

log = structlog.get_logger()


async def rebuild_search(eventlog: Log, search: SearchIndex, ways: Ways, progress: Progress) -> Report:
    """Rebuild, swap, and say what was done. Raises Unavailable, SetupError or NothingBefore."""
    async with open_readers(eventlog, ways.source) as readers:
        with closing(_Rebuild(eventlog, search, readers, ways, progress)) as rebuild:
            return await rebuild.run()


async def compare_search(eventlog: Log, search: SearchIndex, ways: Ways, progress: Progress) -> Report:
    """Fold the log, and compare it with the live index; change nothing.

    Raises Unavailable, SetupError or Unfit.
    """
    async with open_readers(eventlog, ways.source) as readers:
        with closing(_Rebuild(eventlog, search, readers, ways, progress)) as rebuild:
            return await rebuild.compare_with_live()


class _Rebuild:
    """One rebuild: its place in the log, its index, and what it found."""

    def __init__(
        self, eventlog: Log, search: SearchIndex, readers: Readers, ways: Ways, progress: Progress
    ) -> None:
        self._eventlog = eventlog
        self._search = search
        self._readers = readers
        self._ways = ways
        self._progress = progress
        self._started = time.monotonic()
        self._target: Target | None = None
        self._before: str | None = None
        self._held_s: float | None = None
        self._differing: tuple[str, ...] = ()
        self._gaps: tuple[str, ...] = ()
        self._replay = Replay(self._put, progress, ways.purged_before, ways.until_ms, ways.skip_poison)

    def close(self) -> None:
        """Give up what was kept of the messages."""
        self._replay.close()

    async def run(self) -> Report:
        """Build, prove, swap, drop."""
        target = await self._open_target()
        self._target, self._before = target, target.before
        swapped = False
        try:
            await self._check_begins()
            await self._read_to_the_ends("read")
            checks.check_anything(self._replay, self._ways)
            await self._prove(target.index)
            await self._swap_in(target)
            swapped = True
        except (NotProven, NotStored, Unfit) as error:
            return self._report("refused", reason=str(error))
        finally:
            if not swapped:
                await target.discard()
        log.info("rebuild_swapped", index=target.index, index_before=target.before)
        kept = None if self._ways.drop else target.before
        dropped = await target.drop_others(kept)
        return self._report("swapped", kept=kept, dropped=dropped)

    async def _open_target(self) -> Target:
        if self._ways.rollback:
            return await previous_target(self._search)
        return await (unfinished_target if self._ways.resume else fresh_target)(self._search)

    async def compare_with_live(self) -> Report:
        """Fold the log and scan the live index, again where they differ; store nothing anywhere."""
        self._before = before = await self._search.current()
        await self._read_to_the_ends("read")
        live = Digests() if before is None else await self._scan(before)
        self._differing = tuple(self._replay.fold.digests.differing(live))
        if before is None or not self._differing:
            return self._report("dry run")
        looks = Looks(
            self._replay.fold,
            live,
            read_on=lambda: self._read_to_the_ends("read on"),
            unapplied=lambda: patiently(self._unapplied),
            documents=lambda: self._documents(before),
        )
        self._differing = tuple(await looks.differing(self._differing))
        behind = f"records that the indexer has yet to apply: {looks.behind:,}" if looks.behind else None
        return self._report("dry run", reason=behind)

    async def _unapplied(self) -> int:
        """Return how many records of those that were read the indexer has yet to apply."""
        committed = await self._eventlog.committed(GROUP_INDEXER, MESSAGE_TOPICS)
        read = self._readers.events.positions()
        return sum(max(0, at - committed.get(place, 0)) for place, at in read.items())

    async def _swap_in(self, target: Target) -> None:
        """Catch up, then swap; try again a few times. Raises NotProven."""
        reason = ""
        for attempt in range(SWAP_ATTEMPTS):
            if attempt:
                # What was put while writes were held may be there or not.
                await self._prove(target.index)
            await self._catch_up(target.index)
            try:
                await self._finish(target)
                return
            except TimeoutError:
                reason = f"the log grew by more than could be taken in {HELD_MAX_S:g} s"
            except Unavailable as error:
                reason = str(error)
            log.warning("rebuild_swap_failed", reason=reason, attempt=attempt + 1)
        raise NotProven(f"the alias could not be moved, tried {SWAP_ATTEMPTS} times: {reason}")

    async def _finish(self, target: Target) -> None:
        """Swap as the log stands still. Raises NotProven, Unavailable or TimeoutError: the alias stays."""
        async with self._search.swapping(target.index) as swap:
            held_since = time.monotonic()
            target.swap = swap
            try:
                async with asyncio.timeout(HELD_MAX_S):
                    await self._read_to_the_ends("finish")
            finally:
                target.swap = None
            self._check_problems()
            await swap.done()
            self._held_s = round(time.monotonic() - held_since, 3)

    async def _catch_up(self, index: str) -> None:
        """Read until little is left to read, and make it visible: writes will not be held for long."""
        for _ in range(_CATCH_UP_PASSES):
            before = self._replay.records.total()
            await self._read_to_the_ends("catch up")
            if self._replay.records.total() - before < BATCH_RECORDS:
                break
        self._check_problems()
        await patiently(lambda: self._search.refresh(index))

    async def _read_to_the_ends(self, step: str) -> None:
        """Read each topic to its end as it is now, and at least to where the indexer has come."""
        readers = self._readers.all
        committed, *every_end = await _at_once(
            lambda: self._eventlog.committed(GROUP_INDEXER, MESSAGE_TOPICS),
            *(reader.end_offsets for reader in readers.values()),
        )
        for (topic, reader), ends in zip(readers.items(), every_end, strict=True):
            at_least = {partition: max(end, committed.get(partition, 0)) for partition, end in ends.items()}
            await self._replay.read_to(reader, at_least, f"{step} {topic}")

    async def _prove(self, index: str) -> None:
        """Compare the fold with the record and with a scan of the index. Raises NotProven."""
        self._check_problems()
        checks.check_whole(self._replay, self._ways)
        scanned = await self._scan(index)
        self._differing = tuple(self._replay.fold.digests.differing(scanned))
        if self._differing:
            raise NotProven(f"{index} differs from the log; channels that differ: {len(self._differing):,}")

    async def _check_begins(self) -> None:
        """Raise NotProven where only events are read and the log was trimmed of some."""
        if self._ways.source != "events":
            return
        lacks = await what_lacks(self._eventlog, self._progress, self._ways.last_told)
        if lacks is not None:
            self._gaps = tuple(lacks.gaps)
            raise NotProven(str(lacks))

    def _check_problems(self) -> None:
        checks.check_problems(self._replay, self._ways)

    async def _scan(self, index: str) -> Digests:
        digests = Digests(self._ways.purged_before)
        async for message_id, document in self._documents(index):
            if digests.counts(document):
                digests.add(document.channel, message_hash(message_id, document), document.deleted)
        return digests

    async def _documents(self, index: str) -> AsyncIterator[IndexedDocument]:
        """Yield what an index holds, all that was put into it before. Raises Unavailable."""
        await patiently(lambda: self._search.refresh(index))
        self._progress.step(f"check {index}", self._replay.fold.digests.messages)
        seen = 0
        async for indexed in self._search.scan(index):
            yield indexed
            seen += 1
            if seen % _SCAN_STEP == 0:
                self._progress.advance(_SCAN_STEP)
                # A scan that finds its pages at hand would never let others work.
                await asyncio.sleep(0)
        self._progress.advance(seen % _SCAN_STEP)

    async def _put(self, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        return [] if self._target is None else await self._target.put(documents)

    def _report(
        self,
        outcome: Outcome,
        *,
        reason: str | None = None,
        kept: str | None = None,
        dropped: tuple[str, ...] = (),
    ) -> Report:
        replay, digests = self._replay, self._replay.fold.digests
        return Report(
            source=self._ways.source,
            as_of=None if self._ways.until_ms is None else format_ms(self._ways.until_ms),
            skip_poison=self._ways.skip_poison,
            gaps=self._gaps,
            outcome=outcome,
            reason=reason,
            index_before=self._before,
            index=None if self._target is None else self._target.index,
            rollback=self._ways.rollback,
            resumed=self._ways.resume,
            held_s=self._held_s,
            kept=kept,
            dropped=dropped,
            offsets=self._readers.by_topic(),
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


async def _at_once(*asked: Callable[[], Awaitable[Offsets]]) -> list[Offsets]:
    """Ask for offsets side by side, for writes may be held meanwhile. Raises Unavailable."""
    asking = [asyncio.ensure_future(patiently(ask)) for ask in asked]
    try:
        return await asyncio.gather(*asking)
    finally:
        for each in asking:
            each.cancel()
