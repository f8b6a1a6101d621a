"""What a process remembers of its pushes: which were taken, and which the receiver refuses again and again.

Guarantees: a push is given up only where the receiver took others between its failures: while it is down,
for one or for all, nothing is ever given up. Pure, but for the clock that it is given.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

# A push is given up after so many failures, each with one of another user's taken since the one before, and
# so long after the first.
GIVE_UP_FAILURES = 5
GIVE_UP_AFTER_S = 60.0
REMEMBERED = 20_000


class Sent:
    """The last pushes that were taken: a batch that is tried again sends them no second time."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._ids: dict[str, None] = {}

    def __contains__(self, push_id: str) -> bool:
        return push_id in self._ids

    def add(self, push_id: str) -> None:
        """Remember one, and forget the oldest where there are too many."""
        self._ids[push_id] = None
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]


@dataclass(slots=True)
class _Trouble:
    first_s: float
    last_taken: int
    reason: str
    counted: int = 0


class Troubles:
    """The pushes that were not taken."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._taken = 0
        self._by_id: dict[str, _Trouble] = {}

    def __contains__(self, push_id: str) -> bool:
        return push_id in self._by_id

    def taken(self) -> None:
        """Note that the receiver took a push, whichever."""
        self._taken += 1

    def failed(self, push_id: str, reason: str) -> None:
        """Note that it did not take this one: it counts only where it took another since the last time."""
        trouble = self._by_id.setdefault(push_id, _Trouble(self._now_s(), self._taken, reason))
        trouble.reason = reason
        if trouble.last_taken != self._taken:
            trouble.last_taken = self._taken
            trouble.counted += 1

    def given_up(self, push_id: str) -> bool:
        """Say if there is no sense in trying this one again."""
        trouble = self._by_id.get(push_id)
        return (
            trouble is not None
            and trouble.counted >= GIVE_UP_FAILURES
            and self._now_s() - trouble.first_s >= GIVE_UP_AFTER_S
        )

    def reason(self, push_id: str) -> str:
        """Return why it was not taken the last time."""
        return self._by_id[push_id].reason

    def forget(self, push_ids: Iterable[str]) -> None:
        """Forget pushes that are dealt with."""
        for push_id in push_ids:
            self._by_id.pop(push_id, None)
