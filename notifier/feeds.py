"""The feeds of channels: what happens where sockets of this node are subscribed, told to all who are live.

Guarantees: events come from the record, in the order of their sequence, no gap, no repeat: what the log
says of a channel is a hint to look, and a hint that was missed is made up for within seconds. Of a private
channel nobody is told anything from the event on that puts them out. Nothing waits in memory for a client
that is slow: it falls behind, and its session catches up at the client's own pace.
"""

import asyncio
from enum import Enum, auto

import structlog

from backbone.access import may_read, sees_deleted
from backbone.database.engine import Database
from backbone.errors import Unavailable
from backbone.streams import StoredEvent, ends_of, recorded_after
from notifier.metrics import FELL_BEHIND, FRAMES_SENT
from notifier.wire import Wire, raw_frame
from schemas.channels import Role
from schemas.events import (
    ChannelCreated,
    ChannelMemberAdded,
    ChannelMemberRemoved,
    ChannelRoleChanged,
    decode_stream_event,
)
from schemas.frames import event_frame

_PAGE = 100
# So many are written to before others get a turn.
_WRITES_AT_ONCE = 1000
_RETRY_S = 1.0

log = structlog.get_logger()


class State(Enum):
    """Who sends the next event of a subscription."""

    BEHIND = auto()  # its session, out of the record
    LIVE = auto()  # the feed
    LOST = auto()  # nobody: the right has ended, which the session has yet to say
    OVER = auto()  # nobody


class Subscription:
    """One socket's place in one channel: everything up to `position` was sent."""

    __slots__ = ("channel_id", "position", "private", "role", "session", "state", "wire")

    def __init__(self, channel_id: str, position: int, private: bool, wire: Wire, session: "Waker") -> None:
        self.channel_id = channel_id
        self.position = position
        self.private = private
        self.role: Role | None = None
        self.wire = wire
        self.session = session
        self.state = State.BEHIND


class Waker:
    """Whoever sends what a feed leaves to it."""

    __slots__ = ()

    def wake(self) -> None:
        """Look after subscriptions that are behind or lost."""
        raise NotImplementedError


class Feed:
    """One channel: `position` is the last event that those who are live were told."""

    def __init__(self, database: Database, channel_id: str, tasks: set[asyncio.Task[None]]) -> None:
        """`tasks` is where the feed's work shows while it goes on."""
        self._database = database
        self._channel_id = channel_id
        self._tasks = tasks
        self._live: set[Subscription] = set()
        self._hinted = 0
        self._task: asyncio.Task[None] | None = None
        self.position = 0
        self.attached = 0

    @property
    def live(self) -> int:
        """How many are told of the next event."""
        return len(self._live)

    def join(self, subscription: Subscription) -> bool:
        """Go on with a subscription that has all up to its position, unless more has been told by now.

        Its role must be the one as of its position.
        """
        if not self._live:
            self.position = subscription.position
        elif subscription.position < self.position:
            return False
        subscription.state = State.LIVE
        self._live.add(subscription)
        self.hint(subscription.position)
        return True

    def leave(self, subscription: Subscription, state: State) -> None:
        """Tell the subscription nothing more."""
        self._live.discard(subscription)
        subscription.state = state

    def hint(self, sequence: int) -> None:
        """Look, unless all up to this event was told."""
        self._hinted = max(self._hinted, sequence)
        if self._task is None and self._due():
            self._task = asyncio.create_task(self._catch_up())
            self._tasks.add(self._task)
            self._task.add_done_callback(self._tasks.discard)

    def _due(self) -> bool:
        return bool(self._live) and self._hinted > self.position

    async def _catch_up(self) -> None:
        try:
            while self._due():
                try:
                    await self._tell_next()
                except Unavailable as error:
                    log.warning("feed_waits", channel_id=self._channel_id, reason=str(error))
                    await asyncio.sleep(_RETRY_S)
        except Exception as error:
            # A defect must not leave everyone waiting: the sessions go on from the record by themselves.
            log.error("feed_failed", channel_id=self._channel_id, exc_info=error)
            for subscription in tuple(self._live):
                self._leave_behind(subscription)
        finally:
            self._task = None

    async def _tell_next(self) -> None:
        hinted, after = self._hinted, self.position
        events = await recorded_after(self._database, self._channel_id, after, _PAGE)
        if not events and (self._hinted, self.position) == (hinted, after):
            # The hint speaks of another record than this one; the next one may be true.
            self._hinted = self.position
        for event in events:
            if self.position != event.sequence - 1:
                # Everyone left meanwhile, and others came.
                return
            await self._tell(event)

    async def _tell(self, event: StoredEvent) -> None:
        # First: whoever joins from now on has read this event, or will.
        self.position = event.sequence
        changed = _member_changed(event)
        frames = _Frames(event)
        told = 0
        for number, subscription in enumerate(tuple(self._live), 1):
            lacks = subscription.state is State.LIVE and subscription.position < event.sequence
            if lacks and (changed is None or self._keeps_right(subscription, *changed)):
                told += self._write(subscription, event.sequence, frames)
            if number % _WRITES_AT_ONCE == 0:
                await asyncio.sleep(0)
        FRAMES_SENT.labels("event").inc(told)
        # Whatever was written goes out before the next event is.
        await asyncio.sleep(0)

    def _keeps_right(self, subscription: Subscription, user_id: str, role: Role | None) -> bool:
        if subscription.wire.user_id != user_id:
            return True
        subscription.role = role
        if may_read(subscription.private, role):
            return True
        self.leave(subscription, State.LOST)
        subscription.session.wake()
        return False

    def _write(self, subscription: Subscription, sequence: int, frames: "_Frames") -> bool:
        if subscription.wire.write_now(frames.seen_by(subscription.role)):
            subscription.position = sequence
            return True
        FELL_BEHIND.inc()
        self._leave_behind(subscription)
        return False

    def _leave_behind(self, subscription: Subscription) -> None:
        self.leave(subscription, State.BEHIND)
        subscription.session.wake()


class Feeds:
    """The feeds of this node, by channel: each exists while a socket is subscribed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._feeds: dict[str, Feed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()

    def attach(self, subscription: Subscription) -> None:
        """Take hints for a subscription from now on: what is read afterwards misses nothing."""
        channel_id = subscription.channel_id
        feed = self._feeds.get(channel_id)
        if feed is None:
            feed = self._feeds[channel_id] = Feed(self.database, channel_id, self._tasks)
        feed.attached += 1

    def detach(self, subscription: Subscription) -> None:
        """End a subscription that is attached."""
        feed = self._feeds[subscription.channel_id]
        feed.leave(subscription, State.OVER)
        feed.attached -= 1
        if not feed.attached:
            del self._feeds[subscription.channel_id]

    def join(self, subscription: Subscription) -> bool:
        """See Feed.join."""
        return self._feeds[subscription.channel_id].join(subscription)

    def followed(self, channel_id: str) -> bool:
        """Say whether a socket of this node is subscribed to the channel."""
        return channel_id in self._feeds

    def live(self, channel_id: str) -> int:
        """Return how many subscriptions to the channel are up to date, and told by its feed."""
        feed = self._feeds.get(channel_id)
        return 0 if feed is None else feed.live

    def hint(self, channel_id: str, sequence: int) -> None:
        """Look for events up to this one."""
        feed = self._feeds.get(channel_id)
        if feed is not None:
            feed.hint(sequence)

    def hint_all(self) -> None:
        """Look everywhere, soon: hints may have been missed."""
        self._look.set()

    async def keep_looking(self, every_s: float) -> None:
        """Look at the ends of all channels again and again, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(every_s):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            try:
                for channel_id, end in (await ends_of(self.database, list(self._feeds))).items():
                    self.hint(channel_id, end)
            except Unavailable as error:
                log.warning("feeds_wait", reason=str(error))

    async def close(self) -> None:
        """Wait for what is being read, once nobody is subscribed any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Frames:
    """The bytes of one event, made once for all who see it alike."""

    def __init__(self, event: StoredEvent) -> None:
        self._event = event
        self._made: dict[bool, bytes] = {}

    def seen_by(self, role: Role | None) -> bytes:
        whole = not self._event.deleted or sees_deleted(role)
        made = self._made.get(whole)
        if made is None:
            made = self._made[whole] = raw_frame(event_frame(self._event.seen_by(role)))
        return made


def _member_changed(event: StoredEvent) -> tuple[str, Role | None] | None:
    """Return whose role the event changed, and to what."""
    if not event.event_type.startswith("channel."):
        return None
    match decode_stream_event(event.body):
        case ChannelCreated() as created:
            return created.payload.created_by, "owner"
        case ChannelMemberRemoved() as removed:
            return removed.payload.user_id, None
        case ChannelMemberAdded() | ChannelRoleChanged() as changed:
            return changed.payload.user_id, changed.payload.role
        case _:
            return None
