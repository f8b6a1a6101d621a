"""The tail of topics: wakes this node's sessions for what is told of their users, or of their channels.

Guarantees: it reads on from the end as it was before the node took its first socket, without a group,
so that every node sees every record; whenever it may have missed some, it wakes everyone.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, Reader
from backbone.health import Health
from backbone.waiting import stopped_within, until_stopped
from schemas.topics import NOTIFICATIONS_SENT, STREAM_TOPICS, USERS_CHANGED, Topic

# What concerns a user's sockets: new entries of the inbox, and what was read of it.
OF_USERS = (NOTIFICATIONS_SENT, USERS_CHANGED)
# What those follow who have subscribed to channels.
OF_CHANNELS = STREAM_TOPICS
_MAX_RECORDS = 500
_POLL_S = 0.5
_RETRY_S = 1.0
_STOP_GRACE_S = 1.0

log = structlog.get_logger()


class Tail:
    """Reads what is told of anyone, and wakes whom it concerns."""

    def __init__(
        self,
        eventlog: EventLog,
        topics: Sequence[Topic],
        wake: Callable[[set[str]], None],
        wake_all: Callable[[], None],
        health: Health,
    ) -> None:
        """`wake` is told the keys of what comes, `wake_all` that some may have been missed."""
        self._eventlog = eventlog
        self._topics = topics
        self._wake = wake
        self._wake_all = wake_all
        self._health = health
        self._reader: Reader | None = None

    async def step(self, timeout_s: float = _POLL_S) -> int:
        """Read once, and wake whom it concerns; return how many records there were."""
        if self._reader is None:
            await self._open()
        assert self._reader is not None, "it was just opened"
        records = await self._reader.read(_MAX_RECORDS, timeout_s)
        self._health.up("eventlog")
        self._wake({record.key for record in records if record.key is not None})
        return len(records)

    async def run(self, stop: asyncio.Event) -> None:
        """Read on until `stop` is set; a log that is down is tried again."""
        while not stop.is_set():
            try:
                await until_stopped(self.step(), stop, _STOP_GRACE_S)
            except Unavailable as error:
                self._health.down(error.dependency, error.detail)
                log.warning("tail_waits", reason=str(error))
                await stopped_within(stop, _RETRY_S)
        await self.close()

    async def close(self) -> None:
        """Release the reader."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _open(self) -> None:
        reader = await self._eventlog.reader(self._topics)
        try:
            await reader.seek_to_end()
        except Unavailable:
            await reader.close()
            raise
        self._reader = reader
        self._wake_all()
