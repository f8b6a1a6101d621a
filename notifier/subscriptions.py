"""The channels that one socket follows: their events in order, as far as its user may read them.

Guarantees: after `subscribed` every event of the channel comes once, in the order of its number, no gap:
what is sent is what the record holds behind the last number sent, and wake-ups only say when to look. The
right is asked with each look; once it is gone, nothing of the channel follows.
"""

import asyncio
from collections.abc import Awaitable, Callable

from backbone.errors import Unavailable
from notifier.fan_out import FanOut
from notifier.hub import Hub, Watch
from schemas.events import encode
from schemas.frames import ErrorFrame, Frame, Subscribe, Subscribed, Unsubscribe, Unsubscribed

# How many channels one socket may follow.
SUBSCRIPTIONS_MAX = 100
# Events read at once: up to this many wait in memory for a slow client, and for its other channels.
PAGE = 32

Send = Callable[[bytes, str], Awaitable[None]]
"""Sends an encoded frame of a type."""


class Subscriptions:
    """The subscriptions of one socket; `send` sends its frames."""

    def __init__(self, user_id: str, stream: FanOut, hub: Hub, wake_up: asyncio.Event, send: Send) -> None:
        self._user_id = user_id
        self._stream = stream
        self._hub = hub
        self._wake_up = wake_up
        self._send = send
        self._watches: dict[str, Watch] = {}
        self._positions: dict[str, int] = {}

    async def subscribe(self, asked: Subscribe) -> None:
        """Follow a channel after a number, or from its end; once more begins anew."""
        channel_id = asked.channel_id
        if channel_id not in self._watches and len(self._watches) >= SUBSCRIPTIONS_MAX:
            detail = f"{channel_id}: a socket follows {SUBSCRIPTIONS_MAX} channels at most"
            await self._say(ErrorFrame(code="limit", detail=detail))
            return
        try:
            end = await self._stream.end(channel_id, self._user_id)
        except Unavailable as error:
            await self._say(ErrorFrame(code="unavailable", detail=f"{channel_id}: {error}"))
            return
        if end is None:
            await self._say(ErrorFrame(code="not_found", detail=f"{channel_id}: there is no such channel"))
            return
        self._end(channel_id)
        start = end if asked.after_sequence is None else min(asked.after_sequence, end)
        await self._say(Subscribed(channel_id=channel_id, sequence=start))
        self._positions[channel_id] = start
        self._watches[channel_id] = watch = Watch(channel_id, self._wake_up)
        self._hub.watch(watch)
        # The first look finds what came before the wake-ups did.
        self._wake_up.set()

    async def unsubscribe(self, asked: Unsubscribe) -> None:
        """Follow a channel no more."""
        if self._end(asked.channel_id):
            await self._say(Unsubscribed(channel_id=asked.channel_id, reason="asked"))
        else:
            detail = f"{asked.channel_id}: not subscribed"
            await self._say(ErrorFrame(code="not_found", detail=detail))

    async def send_news(self) -> None:
        """Send what channels hold that may have grown, a page of each in turn. Raises Unavailable."""
        while stale := [watch for watch in self._watches.values() if watch.stale]:
            for watch in stale:
                await self._send_page(watch)

    def close(self) -> None:
        """Follow nothing any more."""
        for channel_id in list(self._watches):
            self._end(channel_id)

    async def _send_page(self, watch: Watch) -> None:
        channel_id = watch.name
        watch.stale = False
        try:
            page = await self._stream.after(
                channel_id, self._user_id, self._positions[channel_id], PAGE, watch.wake_ups
            )
        except BaseException:
            watch.stale = True
            raise
        if not self._is_current(watch):
            return
        if page is None:
            self._end(channel_id)
            await self._say(Unsubscribed(channel_id=channel_id, reason="no_right"))
            return
        for event in page.events:
            if not self._is_current(watch):
                return
            self._positions[channel_id] = event.sequence
            await self._send(event.frame, "event")
        if page.more:
            watch.stale = True

    def _is_current(self, watch: Watch) -> bool:
        """Say whether the client still wants this very subscription: it may have begun another meanwhile."""
        return self._watches.get(watch.name) is watch

    def _end(self, channel_id: str) -> bool:
        watch = self._watches.pop(channel_id, None)
        if watch is None:
            return False
        del self._positions[channel_id]
        self._hub.unwatch(watch)
        return True

    async def _say(self, frame: Frame) -> None:
        await self._send(encode(frame), str(frame.__struct_config__.tag))
