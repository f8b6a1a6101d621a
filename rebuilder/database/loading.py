"""Reads parts of a source up to given ends and writes what they hold into the side tables.

Guarantees: it holds a batch or two of each part, whatever the log holds; reading and writing go side by side.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from backbone.errors import CommitUnknown, Unavailable
from backbone.eventlog import DEPENDENCY, Reader, Record, TopicPartition
from rebuilder.database.rows import Chunk, chunk_of
from rebuilder.database.side import Side
from rebuilder.database.storing import store
from rebuilder.patience import patiently
from rebuilder.refusal import Refusal

# So many records, at most some megabytes, are one transaction.
CHUNK_RECORDS = 4_000
_READ_AT_ONCE = 2_000
_STUCK_S = 60.0

Offsets = Mapping[TopicPartition, int]
Loaded = Callable[[int], None]


class NotLoaded(Refusal):
    """A batch may or may not be stored: the text says how to go on."""


def missing(reader: Reader, ends: Offsets) -> int:
    """Return how many offsets lie between a reader's positions and the ends."""
    positions = reader.positions()
    return sum(max(0, end - positions.get(place, 0)) for place, end in ends.items())


Chunked = Callable[[Sequence[Record]], Chunk]


def events_in_bulk(records: Sequence[Record]) -> Chunk:
    """Take records for rows that nothing was made of yet."""
    return chunk_of(records, bulk=True)


def events_in_place(records: Sequence[Record]) -> Chunk:
    """Take records for rows that may be there already."""
    return chunk_of(records, bulk=False)


async def load(
    side: Side,
    reader: Reader,
    ends: Offsets,
    loaded: Loaded,
    chunked: Chunked = events_in_place,
    *,
    exactly: bool = False,
) -> int:
    """Read on until the positions have reached `ends`; return how many records those were.

    What was read beyond is stored too, but not with `exactly`: then it is to be read again. `loaded` is told
    of offsets passed. Raises Unavailable, NotLoaded, or Contradicted.
    """
    count = 0
    writing: asyncio.Task[None] | None = None
    try:
        while left := missing(reader, ends):
            records = await _read(reader, ends)
            positions = dict(reader.positions())
            if exactly:
                records = [each for each in records if each.offset < ends[each.topic_partition]]
                positions = {place: min(at, ends.get(place, at)) for place, at in positions.items()}
            count += len(records)
            chunk = chunked(records)
            if writing is not None:
                await writing
            writing = asyncio.create_task(_write(partial(store, side, chunk, positions)))
            loaded(left - missing(reader, ends))
        if writing is not None:
            await writing
            writing = None
    finally:
        if writing is not None:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
    return count


async def _read(reader: Reader, ends: Offsets) -> list[Record]:
    """Return records for one transaction; fewer at the ends. Raises Unavailable."""
    records: list[Record] = []
    loop = asyncio.get_running_loop()
    moved_s, left = loop.time(), missing(reader, ends)
    while left and len(records) < CHUNK_RECORDS:
        records += await patiently(partial(reader.read, _READ_AT_ONCE, 0.05 if records else 1.0))
        before, left = left, missing(reader, ends)
        if left < before:
            moved_s = loop.time()
        elif records:
            break
        elif loop.time() - moved_s > _STUCK_S:
            raise Unavailable(DEPENDENCY, f"{left} records are still to be read, and none came")
    return records


async def _write(write: Callable[[], Awaitable[None]]) -> None:
    async def once() -> None:
        try:
            await write()
        except CommitUnknown as error:
            raise NotLoaded(f"{error}; go on with --resume") from error

    await patiently(once)
