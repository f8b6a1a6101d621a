"""Whose turn it is among requests: one at a time of each key, and one that failed after a pause.

What only drops comes first, and nothing holds it up. Of a key's other requests the one that was asked
for first is done to its end before the next begins. Keys take turns: who has waited longest comes first.
While a dependency of the effects is down one replay finds out for all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from backbone.errors import Unavailable
from backbone.eventlog.parking.ledger import Asked, Ledger
from backbone.eventlog.parking.letters import Source
from backbone.eventlog.patience import pause_s, reason_of

Key = tuple[int, str]
"""A partition of the dead letters, and an ordering key of it."""


class Pending(NamedTuple):
    """A request that is not done yet, the partition where it lies, and what is parked there."""

    number: int
    asked: Asked
    ledger: Ledger

    @property
    def key(self) -> Key:
        return self.number, self.asked.request.ordering_key

    @property
    def queue(self) -> Mapping[Source, int]:
        """All letters of the key that wait for one another, in order."""
        return self.ledger.queue(self.asked.request.ordering_key)

    @property
    def only_drops(self) -> bool:
        """Whether the next bit of it has no effect that may fail.

        The drop of a whole key applies what came to lie behind since it was asked for.
        """
        if self.asked.request.action == "replay" or self.asked.sources is not None:
            return self.asked.request.action == "drop"
        first = next(iter(self.queue.values()), None)
        return first is None or first < self.asked.offset


@dataclass(slots=True)
class _Pause:
    """How often something failed in a row, and until when it is left alone."""

    failures: int = 0
    until_s: float = 0.0

    def begin(self, now_s: float) -> None:
        self.failures += 1
        self.until_s = now_s + pause_s(self.failures)

    def end(self) -> None:
        self.failures, self.until_s = 0, 0.0


@dataclass(slots=True)
class _Standing:
    """When a key had its last turn, its pause, and the reason for that."""

    last_turn: int
    reason: str = ""
    pause: _Pause = field(default_factory=_Pause)


class Turns:
    """The order in which one member does what is asked for; times are a monotonic clock's, in seconds."""

    def __init__(self) -> None:
        self._keys: dict[Key, _Standing] = {}
        self._turn = 0
        self._effects = _Pause()

    @property
    def reasons(self) -> set[str]:
        """What the last attempts at the keys failed for, where they did."""
        return {standing.reason for standing in self._keys.values() if standing.pause.failures}

    def order(self, pending: Iterable[Pending]) -> list[Pending]:
        """Return the next request of each key, in the order of their turns; forget all other keys."""
        of_key: dict[Key, Pending] = {}
        for each in sorted(pending, key=lambda each: (not each.only_drops, each.asked.offset)):
            of_key.setdefault(each.key, each)
        self._keys = {key: self._keys.get(key) or _Standing(self._turn) for key in of_key}
        return sorted(of_key.values(), key=lambda each: (not each.only_drops, self._keys[each.key].last_turn))

    def may_try(self, pending: Pending, now_s: float) -> bool:
        """Say if a request of the last `order` may be tried now."""
        pauses = (self._keys[pending.key].pause, self._effects)
        return pending.only_drops or all(pause.until_s <= now_s for pause in pauses)

    def failed(self, pending: Pending, error: Exception, now_s: float) -> None:
        """Note an attempt that failed: its key waits, and for a dependency every effect does."""
        self._took(pending).begin(now_s)
        self._keys[pending.key].reason = reason_of(error)
        if isinstance(error, Unavailable):
            self._effects.begin(now_s)

    def succeeded(self, pending: Pending, *, only_dropped: bool) -> None:
        """Note an attempt that went through; but for a drop it shows that effects are possible."""
        self._took(pending).end()
        if not only_dropped:
            self._effects.end()

    def _took(self, pending: Pending) -> _Pause:
        self._turn += 1
        standing = self._keys[pending.key]
        standing.last_turn = self._turn
        return standing.pause
