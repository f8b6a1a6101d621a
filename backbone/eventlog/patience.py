"""Which partitions have to wait after a failure, and for how long.

A partition that failed is tried again by itself, after a pause that doubles up to a bound, less up to
half of it by chance: so those that fail for a reason of their own do not hold up the others. Those that
wait for the same dependency wait for each other's attempts: one of them, by turns, finds out for all.
"""

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from backbone.errors import Unavailable
from backbone.eventlog import TopicPartition
from backbone.eventlog.batches import Span

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0


def reason_of(error: Exception) -> str:
    """Return what an error is counted under: the dependency, or the kind of defect."""
    return error.dependency if isinstance(error, Unavailable) else type(error).__name__


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
    """The partitions of one member that failed; a `reason` is what `reason_of` says."""

    def __init__(self) -> None:
        self._troubled: dict[TopicPartition, _Trouble] = {}

    @property
    def troubled(self) -> Collection[TopicPartition]:
        """The partitions whose last attempt failed, those first that failed the least often."""
        return sorted(self._troubled, key=lambda place: self._troubled[place].failures)

    @property
    def reasons(self) -> Collection[str]:
        """What they failed for."""
        return {trouble.reason for trouble in self._troubled.values()}

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
            # One that failed less often is not put off again and again: its own turn comes.
            if trouble.reason == reason and place not in places and failures <= trouble.failures + 1:
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


class Pace:
    """How many records of a partition are applied at once, where more were too slow."""

    def __init__(self, quick_s: float) -> None:
        """A batch that takes no longer than `quick_s` seconds is followed by a larger one."""
        self._quick_s = quick_s
        self._at_most: dict[TopicPartition, int] = {}

    @property
    def at_most(self) -> dict[TopicPartition, int]:
        """The bound of each partition that has one."""
        return self._at_most

    def overdue(self, batch: Mapping[TopicPartition, Span]) -> None:
        """Note a batch that was given up for it took too long: half as many are tried."""
        self._at_most.update((place, max(1, span.records // 2)) for place, span in batch.items())

    def took(self, batch: Mapping[TopicPartition, Span], seconds: float, most: int) -> None:
        """Note how long a batch took: where that was quick, twice as many are tried, up to `most`."""
        for place in self._at_most.keys() & batch.keys() if seconds <= self._quick_s else ():
            if batch[place].records >= self._at_most[place]:
                self._at_most[place] *= 2
                if self._at_most[place] >= most:
                    del self._at_most[place]

    def keep_only(self, places: Collection[TopicPartition]) -> None:
        """Forget the partitions that are not held any more."""
        self._at_most = {place: bound for place, bound in self._at_most.items() if place in places}
