"""What the shards of a lane send at about the same time, sent as one, where one process owns them all.

A send costs its round trips, however few records it has: four shards with some rows each would pay for them
four times. The joint producer has a fence of its own, which every new owner of any shard takes too: so
nobody is left who could send a shard's rows behind the back of its owner.

Guarantees: a shard uses it only for rows that it read, as the owner, after the fence was taken; whoever
takes a shard later takes the fence later. Only those whose records were under way hear of a failure: the
others are told that theirs were not sent, and send them by themselves.
"""

import asyncio
from collections.abc import Sequence

import structlog

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import DEPENDENCY, EventLog, NewRecord, Producer, RecordTooLarge
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


class NotSent(Unavailable):
    """The joint producer is of no more use, and none of these records was sent."""

    def __init__(self) -> None:
        super().__init__(DEPENDENCY, "the shards send by themselves again")


class JointProducer:
    """A Producer that makes one send of those that come together; raises NotSent, too."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._waiting: list[_Send] = []
        self._sending: asyncio.Task[None] | None = None
        self.over = False
        """Whether it is of no more use."""

    async def send(self, records: Sequence[NewRecord]) -> None:
        """See Producer."""
        if self.over:
            raise NotSent
        send = _Send(records)
        self._waiting.append(send)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        await send.done

    async def close(self) -> None:
        """See Producer; what is under way has a second."""
        self._end()
        if self._sending is not None:
            await asyncio.wait((self._sending,), timeout=_SENT_WITHIN_S)
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait((self._sending,))
        await self._producer.close()

    def _end(self) -> None:
        self.over = True
        _fail(self._waiting, NotSent())
        self._waiting = []

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

    async def _send(self, together: "list[_Send]") -> None:
        try:
            await self._producer.send([record for send in together for record in send.records])
        except RecordTooLarge as error:
            if len(together) == 1:
                _fail(together, error)
            else:
                # Each is told by itself: only those that are too large hear of it.
                self._waiting = [*together, *self._waiting]
                await self._send_one_by_one(len(together))
        except asyncio.CancelledError:
            self._end()
            _fail(together, Unavailable(DEPENDENCY, "given up while it was under way"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._end()
            _fail(together, error)
        else:
            for send in together:
                send.succeed()

    async def _send_one_by_one(self, number: int) -> None:
        for _ in range(number):
            if not self._waiting:
                return
            send = self._waiting.pop(0)
            if not send.done.done():
                await self._send([send])


class _Send:
    """One sender's records, and what became of them."""

    def __init__(self, records: Sequence[NewRecord]) -> None:
        self.records = records
        self.size_bytes = sum(len(record.value or b"") for record in records)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _fail(sends: Sequence[_Send], error: Exception) -> None:
    for send in sends:
        send.fail(error)


class Joint:
    """The joint producer of one lane: opened while this process owns all shards, closed when it does not."""

    def __init__(self, eventlog: EventLog, lane: Lane) -> None:
        self._eventlog = eventlog
        self._lane: Lane = lane
        self._producer: JointProducer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.next_at_s = 0.0
        """When the shards look again, by the loop's clock: together."""

    @property
    def producer(self) -> JointProducer | None:
        """The producer, while it is open."""
        return None if self._producer is None or self._producer.over else self._producer

    def begin(self) -> None:
        """Open it, without anybody waiting."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())

    def end(self) -> None:
        """Use it no more."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            self._wait_for(opening)
        producer, self._producer = self._producer, None
        if producer is not None:
            self._wait_for(asyncio.create_task(producer.close()))

    async def settle(self) -> None:
        """End it, and wait until it has ended."""
        self.end()
        while self._ending:
            await asyncio.wait(self._ending)

    async def _open(self) -> None:
        while self._opening is asyncio.current_task():
            try:
                producer = JointProducer(await self._eventlog.producer(fence=fence_of_all(self._lane)))
            except (Unavailable, SetupError) as error:
                log.info("relay_not_joint", lane=self._lane, reason=str(error))
                await asyncio.sleep(_OPEN_AGAIN_S)
                continue
            # Nothing was waited for since: whoever ends it now finds it here.
            self._producer = producer
            return

    def _wait_for(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("relay_joint_ended", lane=self._lane, reason=str(error))
