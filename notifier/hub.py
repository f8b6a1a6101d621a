"""The hub: wakes the sessions of a user whose inbox grew, on this node.

A wake-up is a hint that says no more than "look": it is never lost, and many become one.
"""

from collections.abc import Callable, Iterable

Look = Callable[[int | None], None]
"""Looks into the inbox, unless the entry of the number given was sent already."""


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
                look(None)

    def hint(self, user_id: str, seq: int) -> None:
        """Wake every session of the user that has not sent the entry of this number."""
        for look in self._looking.get(user_id, ()):
            look(seq)

    def __contains__(self, user_id: str) -> bool:
        """Say whether the user is connected here."""
        return user_id in self._looking

    def users(self) -> int:
        """Return how many users are connected here."""
        return len(self._looking)

    def wake_all(self) -> None:
        """Wake everyone: something may have been missed."""
        self.wake(list(self._looking))
