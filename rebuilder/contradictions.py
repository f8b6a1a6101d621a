"""What a store holds of a message that it could not hold, had it lost nothing meanwhile. Pure."""

from collections.abc import Mapping
from typing import NamedTuple


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
