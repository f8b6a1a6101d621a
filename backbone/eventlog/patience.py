"""Which partitions have to wait after a failure, and for how long.

A partition that failed is tried again by itself, after a pause that doubles up to a bound, less up to
half of it by chance: so those that fail for a reason of their own do not hold up the others. Those that
wait for the same dependency wait for each other's attempts: one of them finds out for all.
"""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from backbone.eventlog import TopicPartition

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0


def pause_s(failures: int) -> float:
    """Return the pause after so many failures in a row, in seconds."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)


@dataclass(slots=True)
class _Trouble:
    failures: int
    reason: str
    until_s: float


class Patience:
    """The partitions of one member that failed; `reason` is the dependency, or the kind of defect."""

    def __init__(self) -> None:
        self._troubled: dict[TopicPartition, _Trouble] = {}

    @property
    def troubled(self) -> Collection[TopicPartition]:
        """The partitions whose last attempt failed."""
        return self._troubled.keys()

    def waiting(self, now_s: float) -> set[TopicPartition]:
        """Return the partitions that are not to be tried yet."""
        return {place for place, trouble in self._troubled.items() if trouble.until_s > now_s}

    def failed(self, places: Iterable[TopicPartition], reason: str, now_s: float) -> None:
        """Note an attempt that failed."""
        places = set(places)
        known = [self._troubled[place].failures for place in places & self._troubled.keys()]
        failures = max(known, default=0) + 1
        until_s = now_s + pause_s(failures)
        for place, trouble in self._troubled.items():
            if trouble.reason == reason and place not in places:
                trouble.until_s = max(trouble.until_s, until_s)
        self._troubled.update((place, _Trouble(failures, reason, until_s)) for place in places)

    def succeeded(self, places: Iterable[TopicPartition]) -> None:
        """Note an attempt that went through: whoever waits for the same is tried at once."""
        for place in places:
            trouble = self._troubled.pop(place, None)
            if trouble is not None:
                for each in self._troubled.values():
                    if each.reason == trouble.reason:
                        each.until_s = 0.0

    def keep_only(self, places: Collection[TopicPartition]) -> None:
        """Forget the partitions that are not held any more."""
        self._troubled = {place: each for place, each in self._troubled.items() if place in places}
