"""Reading partitions to their end: as far as they went when it was asked for."""

import asyncio
from collections.abc import AsyncGenerator

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Reader, Record

READ_AT_ONCE = 1_000
# Longer than a transaction may stay undecided whose owner died: its time-out, and the brokers' look for it.
STUCK_S = 30.0


async def read_to_end(reader: Reader, undecided: bool = False) -> AsyncGenerator[list[Record], None]:
    """Yield what lies before the present ends, see Reader.end_offsets, and perhaps some more.

    Raises Unavailable, also where the positions do not move.
    """
    now_s = asyncio.get_running_loop().time
    ends = await reader.end_offsets(undecided)
    positions, moved_s = reader.positions(), now_s()
    while any(positions[place] < end for place, end in ends.items()):
        records = await reader.read(READ_AT_ONCE, 1.0)
        if records:
            yield records
        before, positions = positions, reader.positions()
        if positions != before:
            moved_s = now_s()
        elif now_s() - moved_s > STUCK_S:
            raise Unavailable(DEPENDENCY, f"nothing was read for {STUCK_S:g} s, and the end is not reached")
