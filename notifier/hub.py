"""The hub: wakes the sessions of a user whose inbox grew, on this node.

A wake-up is a hint that says nothing but "look": it is never lost, and many become one.
"""

from collections.abc import Callable, Iterable

Look = Callable[[], None]


class Hub:
    """Who is connected here, by user."""

    def __init__(self) -> None:
        self._looking: dict[str, list[Look]] = {}

    def add(self, user_id: str, look: Look) -> None:
        """Call `look` whenever the user's inbox may have changed, from now on."""
        self._looking.setdefault(user_id, []).append(look)

    def discard(self, user_id: str, look: Look) -> None:
        """Call it no more."""
        looks = self._looking[user_id]
        looks.remove(look)
        if not looks:
            del self._looking[user_id]

    def wake(self, user_ids: Iterable[str]) -> None:
        """Wake every session of these users."""
        for user_id in user_ids:
            for look in self._looking.get(user_id, ()):
                look()

    def users(self) -> int:
        """Return how many users are connected here."""
        return len(self._looking)

    def wake_all(self) -> None:
        """Wake everyone: something may have been missed."""
        self.wake(list(self._looking))
