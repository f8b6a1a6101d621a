"""One look for many: sessions that follow the same public channel from the same place share what is read.

Guarantees: nobody is answered by a look that began before the wake-up that made it look; who may read is
asked for everybody of a private channel by itself.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from backbone.channel_stream import ChannelStream, StreamPage


class EventBytes(NamedTuple):
    """An event of a channel as the frame that carries it."""

    sequence: int
    frame: bytes


class Frames(NamedTuple):
    """See StreamPage."""

    events: Sequence[EventBytes]
    more: bool


class FanOut:
    """The streams of channels as the sessions of this node read them."""

    def __init__(self, stream: ChannelStream) -> None:
        self._stream = stream
        self._looks: dict[tuple[str, int, int, int], asyncio.Task[Frames | None]] = {}

    async def end(self, channel_id: str, user_id: str) -> int | None:
        """See ChannelStream."""
        return await self._stream.end(channel_id, user_id)

    async def after(
        self, channel_id: str, user_id: str, sequence: int, limit: int, wake_ups: int
    ) -> Frames | None:
        """See ChannelStream; `wake_ups` is how often the channel's sessions were woken until now."""
        key = (channel_id, sequence, limit, wake_ups)
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = asyncio.create_task(self._look(channel_id, sequence, limit))
            look.add_done_callback(lambda _: self._looks.pop(key, None))
        # Whoever goes away leaves the look to the others.
        if (shared := await asyncio.shield(look)) is not None:
            return shared
        found = await self._stream.after(channel_id, user_id, sequence, limit)
        return None if found is None else _framed(found)

    async def _look(self, channel_id: str, sequence: int, limit: int) -> Frames | None:
        found = await self._stream.after_for_all(channel_id, sequence, limit)
        return None if found is None else _framed(found)


def _framed(page: StreamPage) -> Frames:
    return Frames(
        [
            EventBytes(sequence, b'{"type":"event","event":%b}' % body.encode())
            for sequence, body in page.events
        ],
        page.more,
    )
