"""The replay: reads topics from where a reader stands up to given offsets, folds and stores what is newest.

Guarantees: positions reach the given offsets before it returns, and what was read is stored, whenever it
was interrupted before; it holds one batch, and the fold; a record that cannot be read or applied is
named and never passed over in silence.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from msgspec import DecodeError

from backbone.errors import Poison, Unavailable
from backbone.eventlog import DEPENDENCY, Reader, Record, TopicPartition
from backbone.eventlog.events import read_message_event, read_state
from backbone.progress import Progress
from backbone.search import ItemFailure
from indexer.projection import document_of_event, document_of_state
from rebuilder.patience import patiently
from rebuilder.problems import UNREADABLE, Problem
from rebuilder.refusal import Refusal
from rebuilder.search.fold import Fold, Taken
from rebuilder.search.newest import Newest
from schemas.documents import IndexedDocument
from schemas.events import MessagesEvent
from schemas.topics import MESSAGES_STATE

Put = Callable[[Sequence[IndexedDocument]], Awaitable[list[ItemFailure]]]
Offsets = Mapping[TopicPartition, int]

BATCH_RECORDS = 500
PROBLEMS_NAMED = 20
_STUCK_S = 60.0


class NotStored(Refusal):
    """The index took no documents for as long as there was patience; the text says why."""


class Replay:
    """One pass over the log; `put` stores documents, in a dry run nowhere.

    With `until_ms` only what happened by then counts, that very millisecond included; with `skip_poison` what
    cannot be read hides nothing that can.
    """

    def __init__(
        self,
        put: Put,
        progress: Progress,
        purged_before: str = "",
        until_ms: int | None = None,
        skip_poison: bool = False,
    ) -> None:
        self.fold = Fold(purged_before)
        self.records: Counter[str] = Counter()
        self.applied = 0
        self.problems: list[Problem] = []
        self.problem_count = 0
        # A glance would take a version that does not count, or nobody can read, for the newest.
        self._newest = None if skip_poison or until_ms is not None else Newest()
        self.unreadable: Counter[str] = Counter()
        """How many of the problems are records that cannot be read, by topic."""
        self.begins_ms: int | None = None
        """When the first of the events happened, where `until_ms` is asked for."""
        self._until_ms = until_ms
        self._tombstones: set[str] = set()
        # Read and folded, but perhaps not stored: an attempt may be cancelled, or fail.
        self._unstored: dict[str, tuple[Record, IndexedDocument]] = {}
        self._put = put
        self._progress = progress

    @property
    def outlived(self) -> Sequence[str]:
        """The messages that the fold holds undeleted of which a tombstone was read, in order.

        The log was compacted between the two, and took their deletions away before they were read; or they
        were never deleted, and nobody should have written their tombstones.
        """
        return sorted(self.fold.undeleted(self._tombstones))

    def close(self) -> None:
        """Give up what the fold kept."""
        self.fold.close()

    async def read_to(self, reader: Reader, ends: Offsets, step: str) -> None:
        """Read until the reader's positions have reached `ends`. Raises Unavailable or NotStored."""
        await self._store()
        missing = _missing(reader, ends)
        self._progress.step(step, missing)
        moved_at = time.monotonic()
        while missing:
            records = await patiently(partial(reader.read, BATCH_RECORDS, 1.0))
            await self._apply(records)
            left = _missing(reader, ends)
            self._progress.advance(missing - left)
            if left < missing or records:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > _STUCK_S:
                raise Unavailable(DEPENDENCY, f"{left} records are still to be read, and none came")
            missing = left

    async def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            self.records[record.topic] += 1
        read: list[tuple[Record, IndexedDocument]] = []
        for record in records if self._newest is None else self._newest.of(records):
            indexed = self._document_of(record)
            if indexed is not None:
                read.append((record, indexed))
        for (record, indexed), taken in zip(read, self.fold.take([each for _, each in read]), strict=True):
            if taken is Taken.NEWER:
                self._unstored[indexed.message_id] = (record, indexed)
            elif taken is Taken.CONTRADICTION:
                told = f"{indexed.message_id} version {indexed.document.version}"
                self._note(record, f"{told} reads otherwise in an earlier record")
        self._note_tombstones(records)
        await self._store()

    def _note_tombstones(self, records: Sequence[Record]) -> None:
        """Keep the messages whose tombstone came though they are not known to be deleted."""
        tombstones = {
            record.key
            for record in records
            if record.value is None and record.key is not None and record.topic == MESSAGES_STATE.name
        }
        if tombstones:
            self._tombstones |= self.fold.undeleted(tombstones)

    async def _store(self) -> None:
        newest = dict(self._unstored)
        if not newest:
            return
        documents = [indexed for _, indexed in newest.values()]
        try:
            failures = await patiently(partial(self._put, documents))
        except Unavailable as error:
            for record, _ in newest.values():
                self._note(record, f"the index did not take it: {error.detail}")
            raise NotStored(f"documents that the index did not take: {len(newest):,}; {error}") from error
        self._unstored.clear()
        self.applied += len(documents) - len(failures)
        for failure in failures:
            record, _ = newest[failure.message_id]
            self._note(record, f"the index refused it: {failure.reason}")

    def _document_of(self, record: Record) -> IndexedDocument | None:
        of_state = record.topic == MESSAGES_STATE.name
        if of_state and record.value is None:
            # A tombstone: the message was deleted longer ago than anything is replayed.
            return None
        try:
            if of_state:
                return document_of_state(read_state(record))
            event = read_message_event(record)
            return document_of_event(event) if self._had_happened(event) else None
        except (DecodeError, Poison) as error:
            self.unreadable[record.topic] += 1
            self._note(record, f"{UNREADABLE}: {error}")
            return None

    def _had_happened(self, event: MessagesEvent) -> bool:
        if self._until_ms is None:
            return True
        at = event.timestamp
        self.begins_ms = at if self.begins_ms is None else min(self.begins_ms, at)
        return at <= self._until_ms

    def _note(self, record: Record, reason: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_NAMED:
            self.problems.append(
                Problem(topic=record.topic, partition=record.partition, offset=record.offset, reason=reason)
            )


def _missing(reader: Reader, ends: Offsets) -> int:
    positions = reader.positions()
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
