"""Swaps of the alias while nothing is written behind it, by a block on the live index with a mark beside it.

Guarantees: the alias moves in the one request that takes the mark away, so never after the block was
lifted; a block whose owner died is lifted by whoever has seen its mark for LIFTED_AFTER_S seconds, or by
the next rebuild; a block without a mark is an operator's, and stays.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from backbone.errors import Busy, Unavailable
from backbone.search import DEPENDENCY, IndexedDocument, ItemFailure
from backbone.search.elasticsearch.answers import Absent, AliasMoved
from backbone.search.elasticsearch.bulk import WritesBlocked
from backbone.search.elasticsearch.indices import Ask, VersionedIndices

# Much longer than writes are held, see HELD_MAX_S, with the requests around that. It may be too short for
# a server that answers slowly: such a swap is refused, and tried again, for its mark is gone.
LIFTED_AFTER_S = 20.0
# A writer waits itself, as one of the embedded file does: its caller's pauses would outlast the swap.
WAITED_MAX_S = 10.0
_LOOK_AGAIN_S = 0.1
_TOO_LONG = "the swap took too long, and others write again"

T = TypeVar("T")
Put = Callable[[Sequence[IndexedDocument], str], Awaitable[list[ItemFailure]]]
# What keeps documents out of an index; the last one is what the server sets when its disk is nearly full.
_BLOCKS = ("write", "read_only", "read_only_allow_delete")
log = structlog.get_logger()


class ElasticsearchSwap:
    """See Swap."""

    def __init__(self, before: str | None, put: Put, index: str, move: Callable[[], Awaitable[None]]) -> None:
        self.before = before
        self.asked = self.moved = False
        self._put = put
        self._index = index
        self._move = move

    async def put(self, documents: Sequence[IndexedDocument]) -> list[ItemFailure]:
        """See Swap."""
        return await self._put(documents, self._index)

    async def done(self) -> None:
        """See Swap."""
        self.asked = True
        await self._move()
        self.moved = True


class Swaps:
    """The swaps of one alias; `ask` talks to the server.

    Beside the alias there are three more, each on the index that it tells of: `ALIAS-swapping-TOKEN`,
    writes are held for the swap of this token; `ALIAS-released`, a block is to be lifted;
    `ALIAS-previous`, the index was live before.
    """

    def __init__(self, alias: str, indices: VersionedIndices, ask: Ask) -> None:
        self._alias = alias
        self._marks = f"{alias}-swapping-"
        self._released = f"{alias}-released"
        self._previous = f"{alias}-previous"
        self._indices = indices
        self._ask = ask
        self._seen: tuple[str, float] = ("", 0.0)
        # Of those who look in this process one lifts: what comes second could lift the next swap's block.
        self._looking = asyncio.Lock()

    @asynccontextmanager
    async def swapping(self, index: str, put: Put) -> AsyncIterator[ElasticsearchSwap]:
        """See SearchIndex."""
        await self.release()
        behind = await self._indices.behind_alias()
        before = behind[-1] if behind else None
        mark = self._marks + secrets.token_hex(8)
        swap = ElasticsearchSwap(before, put, index, lambda: self._move(behind, index, mark))
        trouble: Unavailable | None = None
        held = False
        try:
            if before is not None:
                await self._hold(before, mark)
            held = True
            yield swap
        except Unavailable as error:
            trouble = error
        finally:
            await self._end(before, mark, held, swap.moved)
        # The answer may have been lost of a move that was made; from now on it can be made no more.
        if trouble is not None and not (swap.asked and await self._indices.behind_alias() == [index]):
            raise trouble

    async def previous(self) -> str | None:
        """See SearchIndex."""
        found = await self._indices.with_aliases()
        return next((name for name, aliases in found.items() if self._previous in aliases), None)

    async def release(self) -> None:
        """See SearchIndex."""
        for index, aliases in (await self._indices.with_aliases()).items():
            for mark in aliases:
                if mark.startswith(self._marks):
                    log.warning("search_hold_left_over", index=index)
                    await self._give_back(index, mark)
            if self._released in aliases:
                await self._lift(index)

    async def written(self, write: Callable[[], Awaitable[T]]) -> T:
        """Return what `write` by the alias returns, which waits for swaps, WAITED_MAX_S at most.

        Raises what `write` raises, and Busy when writes are held still.
        """
        until_s = time.monotonic() + WAITED_MAX_S
        others_block = False
        while True:
            try:
                return await write()
            except WritesBlocked as error:
                waited = False
                while await self.look():
                    waited = True
                    if time.monotonic() > until_s:
                        raise Busy(DEPENDENCY, "writes wait for the swap of a rebuild") from error
                    await asyncio.sleep(_LOOK_AGAIN_S)
                # The swap may have ended since: then the live index is open, and the next try is taken.
                if others_block and not waited:
                    raise
                others_block = not waited

    async def look(self) -> bool:
        """Say whether a swap holds the writes by the alias; lift what one has left, or holds for too long."""
        async with self._looking:
            for index, aliases in (await self._indices.with_aliases()).items():
                if self._alias not in aliases:
                    continue
                # One that is not blocked yet keeps its mark: the request for the block may be under way.
                if self._released in aliases and await self._is_blocked(index):
                    log.warning("search_block_lifted", index=index)
                    await self._lift(index)
                for mark in aliases:
                    if mark.startswith(self._marks):
                        return await self._still_held(index, mark)
        return False

    async def require_open(self) -> None:
        """Raise Unavailable where the live index takes no writes, and no swap is why."""
        for index in await self._indices.behind_alias():
            # Another look: a swap may have begun since the one before.
            if (blocks := await self._blocks_on(index)) and not await self.look():
                raise WritesBlocked(DEPENDENCY, f"the index {index} takes no writes: {', '.join(blocks)}")

    async def _still_held(self, index: str, mark: str) -> bool:
        now_s = time.monotonic()
        known, since_s = self._seen
        if mark != known:
            self._seen = mark, now_s
        elif now_s - since_s > LIFTED_AFTER_S:
            log.warning("search_hold_lifted", index=index, after_s=round(now_s - since_s))
            await self._give_back(index, mark)
            return False
        return True

    async def _hold(self, index: str, mark: str) -> None:
        if await self._is_blocked(index):
            raise Unavailable(DEPENDENCY, f"somebody else has put a block on the writes to {index}: lift it")
        await self._change([_add(index, mark)])
        answer = await self._ask("PUT", f"/{index}/_block/write", None)
        # It is answered when the writes under way are done; else it may be set, and must not stay.
        if not (answer.get("acknowledged") and answer.get("shards_acknowledged")):
            raise Unavailable(DEPENDENCY, f"the writes to {index} could not be held")

    async def _move(self, behind: Sequence[str], index: str, mark: str) -> None:
        await self._ask("POST", f"/{index}/_refresh", None)
        if behind and not await self._is_blocked(behind[-1]):
            # By an operator, or by a request to lift an earlier block that was long under way.
            raise Unavailable(DEPENDENCY, _TOO_LONG)
        gone = [_remove(name, self._alias, True) for name in behind if name != index]
        actions = [_remove(index, self._previous, False), *gone, _add(index, self._alias)]
        if behind:
            kept = behind[-1]
            former = await self.previous()
            if former is not None and former not in (index, kept):
                actions.append(_remove(former, self._previous, False))
            actions += [_remove(kept, mark, True), _add(kept, self._previous), _add(kept, self._released)]
        try:
            await self._change(actions)
        except (AliasMoved, Absent) as error:
            raise Unavailable(DEPENDENCY, _TOO_LONG) from error

    async def _end(self, index: str | None, mark: str, held: bool, moved: bool) -> None:
        if index is None:
            return
        try:
            await self._give_back(index, mark, sure=held)
        except Unavailable as error:
            if not moved:
                raise
            # Nobody writes to what is not live; the next rebuild lifts its block.
            log.warning("search_block_stays", index=index, reason=str(error))

    async def _give_back(self, index: str, mark: str, sure: bool = True) -> None:
        """End a swap for good, unless it has ended; lift its block.

        Not `sure`: the block may be set yet, by a request that is still under way, and is then lifted by
        the first who meets it.
        """
        try:
            await self._change([_remove(index, mark, True), _add(index, self._released)])
        except AliasMoved:
            log.debug("search_swap_had_ended", index=index)
        except Absent:
            return
        found = await self._indices.with_aliases()
        if self._released in found.get(index, ()):
            await self._lift(index, forget=sure)

    async def _lift(self, index: str, forget: bool = True) -> None:
        """Lift a block, then forget that it was to be lifted."""
        await self._ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
        if forget:
            await self._change([_remove(index, self._released, False)])

    async def _is_blocked(self, index: str) -> bool:
        return "index.blocks.write" in await self._blocks_on(index)

    async def _blocks_on(self, index: str) -> list[str]:
        """Return the settings that keep documents out of an index; a full disk sets one, too."""
        answer = await self._ask("GET", f"/{index}/_settings/index.blocks.*", None)
        blocks = answer.get(index, {}).get("settings", {}).get("index", {}).get("blocks", {})
        return [f"index.blocks.{name}" for name in _BLOCKS if str(blocks.get(name, "false")) == "true"]

    async def _change(self, actions: list[Any]) -> None:
        await self._ask("POST", "/_aliases", {"actions": actions})


def _add(index: str, alias: str) -> Any:
    return {"add": {"index": index, "alias": alias}}


def _remove(index: str, alias: str, must_exist: bool) -> Any:
    return {"remove": {"index": index, "alias": alias, "must_exist": must_exist}}
