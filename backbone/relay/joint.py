"""What the shards of a lane send at about the same time, sent as one, where one process owns them all.

A send costs its round trips, however few records it has: four shards with some rows each would pay for them
four times. The joint producer has a fence of its own, which every new owner of any shard takes too: so
nobody is left who could send a shard's rows behind the back of its owner.

Guarantees: a shard uses it only for rows that it read, as the owner, after the fence was taken; whoever
takes a shard later takes the fence later.
"""

import asyncio
from collections.abc import Sequence

import structlog

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, NewRecord, Producer, RecordTooLarge
from backbone.outbox import Lane

# Shards that are woken together hand over what they read at about the same time.
GATHERED_S = 0.002
# What is sent at once must reach a slow log in seconds.
JOINT_MAX_BYTES = 4_000_000
_OPEN_AGAIN_S = 5.0
_SENT_WITHIN_S = 1.0

log = structlog.get_logger()


def fence_of_all(lane: Lane) -> str:
    """Return the fence of whoever owns all shards of a lane."""
    return f"relay.{lane}.all"


class JointProducer:
    """A Producer that makes one send of those that come together, and fails for good as they do."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._waiting: list[_Send] = []
        self._sending: asyncio.Task[None] | None = None
        self._failure: Unavailable | None = None

    async def send(self, records: Sequence[NewRecord]) -> None:
        """See Producer."""
        if self._failure is not None:
            raise self._failure
        send = _Send(records)
        self._waiting.append(send)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        await send.done

    async def close(self) -> None:
        """See Producer; what is under way has a second."""
        self._failure = self._failure or Unavailable("eventlog", "the shards are sent one by one again")
        if self._sending is not None:
            await asyncio.wait((self._sending,), timeout=_SENT_WITHIN_S)
        await self._producer.close()

    async def _send_all(self) -> None:
        try:
            await asyncio.sleep(GATHERED_S)
            while together := self._next():
                await self._send(together)
        finally:
            self._sending = None

    def _next(self) -> "list[_Send]":
        """Take those off the list that fit into one send, those left out whose sender has gone."""
        together: list[_Send] = []
        size_bytes = 0
        while self._waiting:
            send = self._waiting[0]
            size_bytes += send.size_bytes
            if together and size_bytes > JOINT_MAX_BYTES:
                break
            self._waiting.pop(0)
            if not send.done.done():
                together.append(send)
        return together

    async def _send(self, together: "Sequence[_Send]") -> None:
        if self._failure is not None:
            _fail(together, self._failure)
            return
        try:
            await self._producer.send([record for send in together for record in send.records])
        except RecordTooLarge as error:
            if len(together) == 1:
                _fail(together, error)
                return
            # Each may be told by itself; one of them hears that it is too large.
            for send in together:
                await self._send([send])
        except Unavailable as error:
            self._failure = error
            _fail(together, error)
        else:
            for send in together:
                if not send.done.done():
                    send.done.set_result(None)


class _Send:
    """One sender's records, and what became of them."""

    def __init__(self, records: Sequence[NewRecord]) -> None:
        self.records = records
        self.size_bytes = sum(len(record.value or b"") for record in records)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


def _fail(together: Sequence[_Send], error: Exception) -> None:
    for send in together:
        if not send.done.done():
            send.done.set_exception(error)


class Joint:
    """The joint producer of one lane: opened while this process owns all shards, closed when it does not."""

    def __init__(self, eventlog: EventLog, lane: Lane) -> None:
        self._eventlog = eventlog
        self._lane: Lane = lane
        self._producer: JointProducer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.next_at_s = 0.0
        """When the shards look again, by the loop's clock: together."""

    @property
    def producer(self) -> JointProducer | None:
        """The producer, once it is open."""
        return self._producer

    def begin(self) -> None:
        """Open it, without anybody waiting."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())

    def end(self) -> None:
        """Use it no more."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        producer, self._producer = self._producer, None
        if producer is not None:
            self._close(producer)

    async def settle(self) -> None:
        """End it, and wait until it has ended."""
        self.end()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _open(self) -> None:
        while True:
            try:
                producer = JointProducer(await self._eventlog.producer(fence=fence_of_all(self._lane)))
            except Unavailable as error:
                log.info("relay_not_joint", lane=self._lane, reason=str(error))
                await asyncio.sleep(_OPEN_AGAIN_S)
                continue
            if self._opening is asyncio.current_task():
                self._producer = producer
            else:
                self._close(producer)
            return

    def _close(self, producer: JointProducer) -> None:
        task = asyncio.create_task(producer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
