"""What a log lacks whose topics of messages were trimmed below their start: which events of which channels.

What lies behind a gap says that it is one; of what was last in its channel only the database knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from backbone.progress import Progress
from rebuilder.numbers import Numbers, told
from rebuilder.patience import patiently
from rebuilder.readers import Log
from rebuilder.reading import read_to
from rebuilder.search.ways import LastTold
from schemas.topics import MESSAGE_TOPICS, STREAM_TOPICS

GAPS_NAMED = 20


class _Payload(msgspec.Struct):
    channel_id: str


class _Narrow(msgspec.Struct):
    sequence: int
    payload: _Payload


_decode = msgspec.json.Decoder(_Narrow).decode


@dataclass(frozen=True)
class Lacks:
    """The gaps, the first of them for people, and where the topics begin that lack anything."""

    count: int
    gaps: Sequence[str]
    beginnings: str

    def __str__(self) -> str:
        return (
            f"the log lacks events, which cannot be restored from it: {self.gaps[0]}"
            + (f" and {self.count - 1:,} gaps more" if self.count > 1 else "")
            + f"; {self.beginnings}; --from archive has what was archived, --from state the last states"
        )


async def what_lacks(log: Log, progress: Progress, last_told: LastTold) -> Lacks | None:
    """Return what a log lacks, None where it begins at 0 or has all numbers. Raises Unavailable."""
    states = await patiently(log.topics)
    begins = {
        topic.name: states[topic.name].earliest
        for topic in MESSAGE_TOPICS
        if topic.name in states and any(at > 0 for at in states[topic.name].earliest)
    }
    if not begins:
        return None
    expected = await patiently(last_told)
    numbers = Numbers()
    reader = await log.reader([topic for topic in STREAM_TOPICS if topic.name in states])
    try:
        ends = await patiently(reader.end_offsets)
        async for records in read_to(reader, ends, progress, "look for what was trimmed"):
            for record in records:
                try:
                    event = _decode(record.value or b"")
                except (msgspec.DecodeError, UnicodeError):
                    continue
                numbers.add(event.payload.channel_id, event.sequence)
    finally:
        await reader.close()
    gaps = list(numbers.gaps(expected))
    if not gaps:
        return None
    where = (f"{name} begins at offsets {', '.join(map(str, at))}" for name, at in begins.items())
    return Lacks(len(gaps), [told(*gap) for gap in gaps[:GAPS_NAMED]], "; ".join(where))
