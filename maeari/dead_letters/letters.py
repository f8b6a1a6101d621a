"""The letters that live, read from the log: what `list`, `show`, `replay` and `drop` start from."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from backbone.eventlog import EventLog
from backbone.eventlog.parking.letters import read
from backbone.eventlog.reading import read_to_end
from schemas.dead_letters import DeadLetter
from schemas.topics import DEAD_LETTERS


class Letter(NamedTuple):
    """A letter, and when its record was parked, in epoch milliseconds."""

    letter: DeadLetter
    parked_ms: int


async def living(
    eventlog: EventLog, group: str | None, key: str | None, keep: Callable[[DeadLetter], DeadLetter]
) -> list[Letter]:
    """Return what is parked of a group and an ordering key, or of all, in order.

    `keep` says what of each letter is kept in memory. Raises Unavailable, or SetupError where the topic is
    missing.
    """
    found: dict[str, Letter] = {}
    reader = await eventlog.reader([DEAD_LETTERS])
    try:
        async for records in read_to_end(reader, undecided=True):
            for record in records:
                said = read(record)
                found.pop(record.key or "", None)
                if (
                    isinstance(said, DeadLetter)
                    and group in (None, said.group)
                    and key in (None, said.ordering_key)
                ):
                    # One that is parked again is the later one: that is the order in which it is applied.
                    found[record.key or ""] = Letter(keep(said), record.timestamp_ms)
    finally:
        await reader.close()
    return sorted(found.values(), key=lambda each: (each.letter.group, each.letter.ordering_key))


def without_content(letter: DeadLetter) -> DeadLetter:
    """Return what of a letter is enough to list it, and to ask about it."""
    return msgspec.structs.replace(letter, value=None, headers=())
