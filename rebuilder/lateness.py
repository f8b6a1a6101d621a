"""Whether a live index and the log differ, or one of them is only later than the other.

Guarantees: a channel is named only for a message of which the index, in each of a few looks, held less
than the indexer had applied, more than the log had even afterwards, or something else under the same
version. Where the indexer does not come as far as the log was read in time, `behind` says by how much.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rebuilder.digest import Digests, message_hash
from rebuilder.fold import Fold
from schemas.documents import IndexedDocument

LOOKS = 3
APPLIED_WITHIN_S = 10.0
_ASK_AGAIN_S = 0.2


class Version(NamedTuple):
    """What a store holds of a message."""

    number: int
    hashed: int
    channel: str


Versions = Mapping[str, Version]


def contradictions(early: Versions, index: Versions, late: Versions) -> frozenset[str]:
    """Return the messages of which the index holds what it could not hold, had it lost nothing.

    `early` is what the log held that was applied before the index was read, `late` what it held after
    that: whatever lies between is right. Pure.
    """
    every = early.keys() | index.keys() | late.keys()
    return frozenset(each for each in every if contradicts(early.get(each), index.get(each), late.get(each)))


def contradicts(early: Version | None, held: Version | None, late: Version | None) -> bool:
    """Say whether a store held of a message what it could not hold, see `contradictions`. Pure."""
    # A message that the digests leave out is gone from all three, and so may one be that was deleted.
    if held is None:
        return early is not None and late is not None
    if late is None or held.number > late.number or (early is not None and held.number < early.number):
        return True
    return any(known is not None and known.number == held.number and known != held for known in (early, late))


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
