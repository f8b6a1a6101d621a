"""The hub: wakes the sessions on this node for whom there may be something to send.

A wake-up is a hint that says nothing but "look": it is never lost, and many become one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Watch:
    """A session's watch over an inbox, or a channel: `stale` once it may have grown.

    `wake_up` is the session's, for all that it watches. `wake_ups` counts those of channels on this node: who
    has heard of the same number may share a look.
    """

    name: str
    wake_up: asyncio.Event
    stale: bool = field(default=True)
    wake_ups: int = field(default=0)


class Hub:
    """Who is connected here, by user, and who watches which channel."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[Watch]] = defaultdict(set)
        self._watching: defaultdict[str, set[Watch]] = defaultdict(set)
        self._wake_ups = 0

    @contextmanager
    def subscribed(self, user_id: str) -> Iterator[Watch]:
        """Within the block, the watch is told whenever the user's inbox may have changed."""
        watch = Watch(user_id, asyncio.Event())
        self._waiting[user_id].add(watch)
        try:
            yield watch
        finally:
            self._waiting[user_id].discard(watch)
            if not self._waiting[user_id]:
                del self._waiting[user_id]

    def watch(self, watch: Watch) -> None:
        """From now on the watch is told whenever its channel may have grown."""
        watch.wake_ups = self._wake_ups
        self._watching[watch.name].add(watch)

    def unwatch(self, watch: Watch) -> None:
        """Tell the watch nothing any more."""
        watches = self._watching[watch.name]
        watches.discard(watch)
        if not watches:
            del self._watching[watch.name]

    def wake(self, user_ids: Iterable[str]) -> None:
        """Wake every session of these users."""
        for user_id in user_ids:
            for watch in self._waiting.get(user_id, ()):
                watch.stale = True
                watch.wake_up.set()

    def wake_channels(self, channel_ids: Iterable[str]) -> None:
        """Wake every session that watches one of these channels."""
        self._wake_ups += 1
        for channel_id in channel_ids:
            for watch in self._watching.get(channel_id, ()):
                watch.wake_ups = self._wake_ups
                watch.stale = True
                watch.wake_up.set()

    def users(self) -> int:
        """Return how many users are connected here."""
        return len(self._waiting)

    def wake_all(self) -> None:
        """Wake everyone: something may have been missed."""
        self.wake(list(self._waiting))

    def wake_all_channels(self) -> None:
        """Wake everyone who watches a channel: something may have been missed."""
        self.wake_channels(list(self._watching))
