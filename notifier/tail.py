"""The tail of what sockets show: wakes sessions and the feeds of channels for what was written anywhere.

Guarantees: it reads on from the end as it was before the node took its first socket, without a group,
so that every node sees every record; whenever it may have missed some, it wakes everyone.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, Reader, Record
from backbone.health import Health
from backbone.waiting import stopped_within, until_stopped
from notifier.feeds import Feeds
from notifier.hub import Hub
from schemas.codec import decode_with
from schemas.topics import NOTIFICATIONS_SENT, STREAM_TOPICS, USERS_CHANGED

# What concerns a user's sockets: new entries of the inbox, what was read of it, and channels' events.
TAILED = (NOTIFICATIONS_SENT, USERS_CHANGED, *STREAM_TOPICS)
_STREAMS = frozenset(topic.name for topic in STREAM_TOPICS)
_MAX_RECORDS = 500
_POLL_S = 0.5
_RETRY_S = 1.0
_STOP_GRACE_S = 1.0

log = structlog.get_logger()


class _Numbered(msgspec.Struct):
    """What a hint needs: the number of an event in its channel, or of an entry in its inbox."""

    sequence: int = 0
    seq: int = 0


_numbered: msgspec.json.Decoder[_Numbered] = msgspec.json.Decoder(_Numbered)


class Tail:
    """Reads what is sent to anyone, and tells the hub and the feeds."""

    def __init__(self, eventlog: EventLog, hub: Hub, feeds: Feeds, health: Health) -> None:
        self._eventlog = eventlog
        self._hub = hub
        self._feeds = feeds
        self._health = health
        self._reader: Reader | None = None

    async def step(self, timeout_s: float = _POLL_S) -> int:
        """Read once, and wake whom it concerns; return how many records there were."""
        if self._reader is None:
            await self._open()
        assert self._reader is not None, "it was just opened"
        records = await self._reader.read(_MAX_RECORDS, timeout_s)
        self._health.up("eventlog")
        self._tell(records)
        return len(records)

    def _tell(self, records: Sequence[Record]) -> None:
        users: set[str] = set()
        for record in records:
            if record.key is None:
                continue
            if record.topic in _STREAMS:
                if self._feeds.followed(record.key):
                    self._feeds.hint(record.key, _numbers(record).sequence)
            elif record.key in self._hub:
                if seq := _numbers(record).seq:
                    self._hub.hint(record.key, seq)
                else:
                    users.add(record.key)
        self._hub.wake(users)

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
        reader = await self._eventlog.reader(TAILED)
        try:
            await reader.seek_to_end()
        except Unavailable:
            await reader.close()
            raise
        self._reader = reader
        self._hub.wake_all()
        self._feeds.hint_all()


def _numbers(record: Record) -> _Numbered:
    """Return what the record says of numbers, 0 where it says nothing."""
    try:
        return decode_with(_numbered, record.value or b"")
    except msgspec.DecodeError:
        return _Numbered()
