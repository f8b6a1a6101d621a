"""Whether a live index and the log differ, or one of them is only later than the other.

Guarantees: a channel is named only for a message of which the index, in each of a few looks, held less
than the indexer had applied, more than the log had even afterwards, or something else under the same
version. Where the indexer does not come as far as the log was read in time, `behind` says by how much.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass

from rebuilder.contradictions import Version, Versions, contradictions
from rebuilder.digest import Digests, message_hash
from rebuilder.search.fold import Fold
from schemas.documents import IndexedDocument

LOOKS = 3
APPLIED_WITHIN_S = 10.0
_ASK_AGAIN_S = 0.2


@dataclass
class Looks:
    """Looks at a live index beside a fold that goes on; see the arguments.

    `read_on` reads the log to its ends, `unapplied` says how many of the records that were read the
    indexer has yet to apply, `documents` yields what the index holds now. All raise Unavailable.
    """

    fold: Fold
    digests: Digests
    read_on: Callable[[], Awaitable[None]]
    unapplied: Callable[[], Awaitable[int]]
    documents: Callable[[], AsyncIterator[IndexedDocument]]
    behind: int = 0

    async def differing(self, channels: Collection[str]) -> list[str]:
        """Return those of the channels that differ indeed."""
        suspects: frozenset[str] | None = None
        for _ in range(LOOKS):
            if not channels:
                break
            early = self._read_so_far(channels)
            self.behind = await self._left_unapplied()
            held = await self._held(channels)
            await self.read_on()
            late = self._read_so_far(channels)
            found = contradictions(early, held, late)
            suspects = found if suspects is None else suspects & found
            of_all = (store.get(each) for each in suspects for store in (early, held, late))
            channels = {version.channel for version in of_all if version is not None}
            if self.behind:
                break
        return sorted(channels)

    async def _left_unapplied(self) -> int:
        """Wait for the indexer; return how many records it has yet to apply when the time is up."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + APPLIED_WITHIN_S
        while left := await self.unapplied():
            if loop.time() > until_s:
                break
            await asyncio.sleep(_ASK_AGAIN_S)
        return left

    def _read_so_far(self, channels: Collection[str]) -> Versions:
        return {
            message_id: Version(number, hashed, channel)
            for message_id, number, hashed, channel in self.fold.counted()
            if channel in channels
        }

    async def _held(self, channels: Collection[str]) -> Versions:
        held = {}
        async for message_id, document in self.documents():
            if document.channel in channels and self.digests.counts(document):
                hashed = message_hash(message_id, document)
                held[message_id] = Version(document.version, hashed, document.channel)
        return held
