"""Which numbers of which channels were read: what lacks below the highest is known without them.

Pure. Memory goes with the gaps: numbers that follow one another are one range.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from types import MappingProxyType


class Numbers:
    """The numbers of the events of channels, taken in any order, any number of times."""

    def __init__(self) -> None:
        # By channel the ranges, in order, as first numbers and last ones.
        self._ranges: dict[str, tuple[list[int], list[int]]] = {}

    def add(self, channel_id: str, number: int) -> None:
        """Take a number in."""
        firsts, lasts = self._ranges.setdefault(channel_id, ([], []))
        at = bisect_right(firsts, number)
        if at and number <= lasts[at - 1]:
            return
        joins_before = at > 0 and lasts[at - 1] == number - 1
        joins_after = at < len(firsts) and firsts[at] == number + 1
        if joins_before and joins_after:
            lasts[at - 1] = lasts.pop(at)
            del firsts[at]
        elif joins_before:
            lasts[at - 1] = number
        elif joins_after:
            firsts[at] = number
        else:
            firsts.insert(at, number)
            lasts.insert(at, number)

    def gaps(self, expected: Mapping[str, int] = MappingProxyType({})) -> Iterator[tuple[str, int, int]]:
        """Yield channel, first and last number of what lacks, channels in order.

        `expected` are the highest numbers that channels have, as far as that is known from elsewhere.
        """
        for channel_id in sorted(self._ranges.keys() | expected.keys()):
            firsts, lasts = self._ranges.get(channel_id, ([], []))
            end = expected.get(channel_id, 0) + 1
            for before, first in zip((0, *lasts), (*firsts, end), strict=True):
                if first > before + 1:
                    yield channel_id, before + 1, first - 1


def told(channel_id: str, first: int, last: int) -> str:
    """Return a gap as people read it."""
    lacking = f"event {first:,} is" if first == last else f"events {first:,} to {last:,} are"
    return f"channel {channel_id!r}: {lacking} missing"
