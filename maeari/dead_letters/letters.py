"""The letters that live, read from the log: what `list`, `show`, `replay` and `drop` start from."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from backbone.eventlog import EventLog, Record
from backbone.eventlog.parking.letters import Source, read
from schemas.dead_letters import DeadLetter
from schemas.topics import DEAD_LETTERS

_AT_ONCE = 1_000


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
        ends = await reader.end_offsets()
        while any(reader.positions()[place] < end for place, end in ends.items()):
            for record in await reader.read(_AT_ONCE, 1.0):
                _fold(found, record, keep)
    finally:
        await reader.close()
    chosen = [
        letter
        for letter in found.values()
        if group in (None, letter.letter.group) and key in (None, letter.letter.ordering_key)
    ]
    return sorted(chosen, key=lambda each: (each.letter.group, each.letter.ordering_key))


def without_content(letter: DeadLetter) -> DeadLetter:
    """Return what of a letter is enough to list it, and to ask about it."""
    return msgspec.structs.replace(letter, value=None, headers=())


def _fold(found: dict[str, Letter], record: Record, keep: Callable[[DeadLetter], DeadLetter]) -> None:
    said = read(record)
    key = record.key or ""
    if isinstance(said, DeadLetter):
        # One that is parked again is the later one: that is the order in which it is applied.
        found.pop(key, None)
        found[key] = Letter(keep(said), record.timestamp_ms)
    elif isinstance(said, Source):
        found.pop(key, None)
