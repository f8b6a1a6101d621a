"""One socket of one user, from its hello to its close.

Guarantees: the client gets every entry of its inbox after the number it resumes at, in order, once
per socket: the session sends what it reads from the inbox after the last number sent, and wake-ups
only say when to look. It subscribes to wake-ups before it looks for the first time. A session that has
nothing to send costs no task of its own.
"""

import asyncio

import msgspec
import structlog

from backbone.errors import Unavailable
from backbone.mailbox import Mailbox, Standing
from notifier.feeds import Feeds, Waker
from notifier.handshake import Caller
from notifier.hub import Hub
from notifier.looks import Looks
from notifier.metrics import ACKS, SOCKETS_OPEN
from notifier.subscriptions import Subscriptions
from notifier.wire import Limits, Wire
from schemas.frames import (
    CLOSE_BAD_FRAME,
    CLOSE_RESTARTING,
    Ack,
    ClientFrame,
    ErrorFrame,
    Hello,
    Read,
    Subscribe,
    Unsubscribe,
    decode_client_frame,
)

# RFC 6455: the server met a condition that it did not expect.
CLOSE_BROKEN = 1011

log = structlog.get_logger()


class Session(Waker):
    """Serves one connected client until it goes."""

    __slots__ = (
        "_after",
        "_epoch",
        "_hub",
        "_limits",
        "_looks",
        "_mailbox",
        "_news_due",
        "_over",
        "_pushing",
        "_sent_seq",
        "_subscriptions",
        "_told_read",
        "_wire",
    )

    def __init__(
        self,
        wire: Wire,
        caller: Caller,
        mailbox: Mailbox,
        looks: Looks,
        hub: Hub,
        feeds: Feeds,
        limits: Limits,
    ) -> None:
        self._wire = wire
        self._after = caller.after
        self._mailbox = mailbox
        self._looks = looks
        self._hub = hub
        self._limits = limits
        self._subscriptions = Subscriptions(wire, feeds, limits, self)
        self._pushing: asyncio.Task[None] | None = None
        self._news_due = False
        self._epoch = 0
        self._sent_seq = 0
        self._told_read = 0
        self._over = False

    async def run(self) -> None:
        """Say hello, then send and receive until the socket closes. Raises ConnectionClosed, TimeoutError."""
        user_id = self._wire.user_id
        self._over = True
        self._hub.add(user_id, self.look)
        SOCKETS_OPEN.inc()
        try:
            standing = await self._mailbox.standing(user_id)
            await self._start(standing)
            await self._receive()
        except Unavailable as error:
            log.warning("socket_refused", user_id=user_id, error=str(error))
            await self._wire.close(CLOSE_RESTARTING, "the inbox does not answer, try again")
        finally:
            SOCKETS_OPEN.dec()
            self._hub.discard(user_id, self.look)
            await self._end()

    def look(self, seq: int | None = None) -> None:
        """Send what is new in the inbox, unless the entry of the number given was sent already."""
        if seq is not None and seq <= self._sent_seq:
            return
        self._news_due = True
        self.wake()

    def wake(self) -> None:
        """See Waker."""
        if self._pushing is None and not self._over:
            self._pushing = asyncio.create_task(self._push())

    async def _start(self, standing: Standing) -> None:
        self._sent_seq = standing.latest_seq if self._after is None else min(self._after, standing.latest_seq)
        self._epoch, self._told_read = standing.epoch, standing.read_up_to
        hello = Hello(
            user_id=self._wire.user_id,
            epoch=standing.epoch,
            latest_seq=standing.latest_seq,
            heartbeat_s=self._limits.heartbeat_s,
        )
        await self._wire.send(hello)
        self._over = False
        # The first look finds what came before the wake-ups did.
        self.look()

    async def _end(self) -> None:
        self._over = True
        self._subscriptions.close()
        # It is not cancelled: whatever it asks of the database ends first.
        if self._pushing is not None:
            await self._pushing

    async def _push(self) -> None:
        """Send whatever there is to send."""
        try:
            while not self._over:
                try:
                    if self._news_due:
                        self._news_due = False
                        await self._send_news()
                    elif self._subscriptions.waiting():
                        await self._subscriptions.advance()
                    else:
                        self._pushing = None
                        return
                except Unavailable as error:
                    log.warning("push_waits", user_id=self._wire.user_id, error=str(error))
                    self._news_due = True
                    await asyncio.sleep(self._limits.retry_s)
        except BaseException:
            # Whatever ended this ends the other side too.
            if self._wire.is_open:
                await self._wire.close(CLOSE_BROKEN, "internal error: connect again and resume")
            raise

    async def _send_news(self) -> None:
        while True:
            standing, entries = await self._looks.after(self._wire.user_id, self._sent_seq)
            if standing.epoch != self._epoch:
                # Other numbers from now on: the next hello says so.
                await self._wire.close(CLOSE_RESTARTING, "the inbox was numbered anew: connect again")
                return
            for entry in entries:
                await self._wire.send(entry)
                self._sent_seq = entry.seq
            if standing.read_up_to > self._told_read:
                self._told_read = standing.read_up_to
                await self._wire.send(Read(up_to=standing.read_up_to))
            if self._sent_seq >= standing.latest_seq or not entries:
                return

    async def _receive(self) -> None:
        while True:
            data = await self._wire.receive()
            try:
                if not isinstance(data, str):
                    raise msgspec.DecodeError("frames are text")
                frame = decode_client_frame(data)
            except msgspec.DecodeError as error:
                await self._wire.close(CLOSE_BAD_FRAME, str(error))
                return
            await self._handle(frame)

    async def _handle(self, frame: ClientFrame) -> None:
        match frame:
            case Read():
                await self._mark_read(frame.up_to)
            case Ack():
                ACKS.inc()
            case Subscribe():
                await self._subscriptions.subscribe(frame)
            case Unsubscribe():
                await self._subscriptions.unsubscribe(frame)

    async def _mark_read(self, up_to: int) -> None:
        user_id = self._wire.user_id
        try:
            read_up_to = await self._mailbox.mark_read(user_id, up_to)
        except Unavailable as error:
            await self._wire.send(ErrorFrame(code="unavailable", detail=f"not marked as read: {error}"))
            return
        # Its own mark is no news to this socket.
        self._told_read = max(self._told_read, read_up_to)
        self._hub.wake([user_id])
