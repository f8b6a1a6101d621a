"""The index that a rebuild fills: a fresh one, or the one that was live before the last swap.

Guarantees: neither the live index nor the previous one is dropped before another is swapped in;
what an unfinished rebuild left is dropped, now or by the next one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from backbone.errors import Unavailable
from backbone.search import ItemFailure, SearchIndex, Swap
from rebuilder.refusal import NothingBegun, Refusal
from schemas.documents import IndexedDocument

# Searches that began on the old index are given this long to end before it is dropped.
DROP_GRACE_S = 2.0

log = structlog.get_logger()


class NothingBefore(Refusal):
    """There is no index to go back to; the text is one line that says so."""


@dataclass
class Target:
    """An index behind no alias, while it is filled; `before` is the live one."""

    search: SearchIndex
    index: str
    before: str | None
    fresh: bool
    swap: Swap | None = None
    """While writes are held, documents go the way of the swap."""
    _held: dict[str, int] = field(default_factory=dict)

    async def put(self, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        """Store documents, but for those whose version the index held from the beginning."""
        newer = [each for each in documents if each.document.version > self._held.get(each.message_id, 0)]
        if not newer:
            return []
        if self.swap is not None:
            return await self.swap.put(newer)
        return await self.search.put(newer, index=self.index)

    async def look(self) -> None:
        """Find out what the index holds already. Raises Unavailable."""
        await self.search.refresh(self.index)
        async for message_id, document in self.search.scan(self.index):
            self._held[message_id] = document.version

    async def discard(self) -> None:
        """Drop a fresh index that was not swapped in."""
        if not self.fresh:
            return
        try:
            # A swap whose answer was lost may have been done all the same: after this it can be done no more.
            await self.search.release_writes()
            if await self.search.current() != self.index:
                await self.search.drop(self.index)
        except Unavailable as error:
            log.warning("rebuild_leftover_stays", index=self.index, reason=str(error))

    async def drop_others(self, keep: str | None) -> tuple[str, ...]:
        """Drop every other index but `keep`, once the alias has moved; return which."""
        dropped: list[str] = []
        try:
            others = [name for name in await self.search.indices() if name not in (self.index, keep)]
            if self.before in others:
                await asyncio.sleep(DROP_GRACE_S)
            for name in others:
                await self.search.drop(name)
                dropped.append(name)
        except Unavailable as error:
            log.warning("rebuild_old_index_stays", reason=str(error))
        return tuple(dropped)


async def fresh_target(search: SearchIndex) -> Target:
    """Make an index with the next version's name. Raises Unavailable."""
    before = await _cleared(search)
    index = await search.create_next()
    log.info("rebuild_index_made", index=index)
    return Target(search, index, before, fresh=True)


async def previous_target(search: SearchIndex) -> Target:
    """Take the index that was live before. Raises NothingBefore or Unavailable."""
    before = await _cleared(search)
    index = await search.previous()
    if index is None or index == before:
        raise NothingBefore("there is no index to go back to: the last rebuild kept none")
    target = Target(search, index, before, fresh=False)
    await target.look()
    return target


async def unfinished_target(search: SearchIndex) -> Target:
    """Take the index that a rebuild had begun to fill when it died. Raises NothingBegun or Unavailable.

    What it holds is known by its versions; whether it holds the right thing the digests prove, as ever.
    """
    await search.release_writes()
    live, previous, names = await search.current(), await search.previous(), await search.indices()
    begun = [name for name in names[_after(names, live) :] if name not in (live, previous)]
    if not begun:
        raise NothingBegun("--resume: there is nothing to go on with: no rebuild left an index")
    for name in begun[:-1]:
        await search.drop(name)
    target = Target(search, begun[-1], live, fresh=True)
    await target.look()
    log.info("rebuild_index_found", index=target.index)
    return target


def _after(names: Sequence[str], live: str | None) -> int:
    return names.index(live) + 1 if live in names else 0


async def _cleared(search: SearchIndex) -> str | None:
    """Clear what an unfinished rebuild left; return the live index."""
    await search.release_writes()
    live, names = await search.current(), await search.indices()
    if live in names:
        previous = await search.previous()
        for name in names[names.index(live) + 1 :]:
            if name != previous:
                log.info("rebuild_leftover_dropped", index=name)
                await search.drop(name)
    return live
