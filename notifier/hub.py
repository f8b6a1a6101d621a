"""The hub: wakes the sessions of a user whose inbox grew, on this node.

A wake-up is a hint that says nothing but "look": it is never lost, and many become one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Hub:
    """Who is connected here, by user."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def subscribed(self, user_id: str) -> Iterator[asyncio.Event]:
        """Within the block, the event is set whenever the user's inbox may have changed."""
        wake_up = asyncio.Event()
        self._waiting[user_id].add(wake_up)
        try:
            yield wake_up
        finally:
            self._waiting[user_id].discard(wake_up)
            if not self._waiting[user_id]:
                del self._waiting[user_id]

    def wake(self, user_ids: Iterable[str]) -> None:
        """Wake every session of these users."""
        for user_id in user_ids:
            for wake_up in self._waiting.get(user_id, ()):
                wake_up.set()

    def users(self) -> int:
        """Return how many users are connected here."""
        return len(self._waiting)

    def wake_all(self) -> None:
        """Wake everyone: something may have been missed."""
        self.wake(list(self._waiting))
