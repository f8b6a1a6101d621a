"""Reading up to given ends, with patience, and showing how far it has come."""

import time
from collections.abc import AsyncGenerator, Mapping
from functools import partial

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Reader, Record, TopicPartition
from backbone.progress import Progress
from rebuilder.patience import patiently

READ_AT_ONCE = 2_000
_STUCK_S = 60.0


def left(reader: Reader, ends: Mapping[TopicPartition, int]) -> int:
    """Return how many offsets lie between a reader's positions and the ends."""
    positions = reader.positions()
    return sum(max(0, end - positions.get(place, 0)) for place, end in ends.items())


async def read_to(
    reader: Reader, ends: Mapping[TopicPartition, int], progress: Progress, step: str
) -> AsyncGenerator[list[Record], None]:
    """Yield what lies before the ends, and perhaps some more. Raises Unavailable, or what the reader does."""
    missing = left(reader, ends)
    progress.step(step, missing)
    moved_at = time.monotonic()
    while missing:
        records = await patiently(partial(reader.read, READ_AT_ONCE, 1.0))
        if records:
            yield records
        before, missing = missing, left(reader, ends)
        progress.advance(before - missing)
        if missing < before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > _STUCK_S:
            raise Unavailable(DEPENDENCY, f"{missing} records are still to be read, and none came")
