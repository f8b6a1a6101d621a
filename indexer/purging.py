"""The end of a deletion: past the replay horizon its document leaves the index for good.

Guarantees: a document is removed only once the group has applied everything that the log held when the
document was found, and while nothing is parked: so every event of its message was applied before, and
none is left that could bring the message back. What has become newer stays. Several indexers may do
this at once; each looks seldom, and takes a bounded number at a time.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import aclosing
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from backbone.clock import Clock
from backbone.errors import Unavailable
from backbone.eventlog import EventLog, TopicPartition
from backbone.eventlog.parking.ledger import Ledger
from backbone.eventlog.reading import read_to_end
from backbone.search import SearchIndex, Tombstone
from backbone.waiting import stopped_within, until_stopped
from schemas.topics import DEAD_LETTERS, GROUP_INDEXER, MESSAGE_TOPICS, REPLAY_HORIZON_MS

# An hour more: who compares index and log leaves out what was beyond the horizon as the comparison began.
PURGED_AFTER_MS = REPLAY_HORIZON_MS + 60 * 60 * 1000
BATCH_MAX = 500
LOOK_EVERY_S = 600.0
# Between the batches of a backlog, and while the group has yet to apply what the log holds.
PACE_S = 2.0
STOP_GRACE_S = 2.0

log = structlog.get_logger()
purged = Counter(
    "maeari_search_purged", "Documents of deleted messages that were removed, past the replay horizon."
)


class _Found(NamedTuple):
    """Documents to be removed, once the group has come so far."""

    tombstones: list[Tombstone]
    ends: Mapping[TopicPartition, int]


class Purge:
    """Finds the documents of messages that were deleted long ago, and removes them."""

    def __init__(
        self, eventlog: EventLog, search: SearchIndex, clock: Clock, group: str = GROUP_INDEXER
    ) -> None:
        self._eventlog = eventlog
        self._search = search
        self._clock = clock
        self._group = group
        self._found: _Found | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set; what is down is waited for."""
        while not stop.is_set():
            # Indexers that started together need not look together, and have other things to do first.
            pause_s = LOOK_EVERY_S * random.uniform(0.5, 1.0) if self._found is None else PACE_S
            if await stopped_within(stop, pause_s):
                return
            try:
                while await until_stopped(self.step(), stop, STOP_GRACE_S):
                    await stopped_within(stop, PACE_S)
            except Unavailable as error:
                log.info("purge_waits", reason=str(error))

    async def step(self) -> int:
        """Remove the next documents; return how many. Raises Unavailable.

        0 also while the group has something to apply yet: then the same ones are asked about again.
        """
        if self._found is None:
            tombstones = await self._search.tombstones(self._clock.now_ms() - PURGED_AFTER_MS, BATCH_MAX)
            if not tombstones:
                return 0
            self._found = _Found(tombstones, await self._ends())
        committed = await self._eventlog.committed(self._group, MESSAGE_TOPICS)
        if any(committed.get(place, 0) < end for place, end in self._found.ends.items()):
            return 0
        found, self._found = self._found, None
        if await self._parked():
            return 0
        removed = await self._search.purge(found.tombstones)
        purged.inc(removed)
        log.info("search_purged", documents=removed)
        return removed

    async def _ends(self) -> Mapping[TopicPartition, int]:
        """Return where the log ends, behind transactions that are still open, too."""
        reader = await self._eventlog.reader(MESSAGE_TOPICS)
        try:
            return await reader.end_offsets(undecided=True)
        finally:
            await reader.close()

    async def _parked(self) -> int:
        """Return how many records the group has parked, in all partitions: they may be applied one day."""
        ledger = Ledger(self._group)
        reader = await self._eventlog.reader([DEAD_LETTERS])
        try:
            async with aclosing(read_to_end(reader, undecided=True)) as batches:
                async for records in batches:
                    for record in records:
                        ledger.take(record)
        finally:
            await reader.close()
        return ledger.size
