"""The channels that one socket is subscribed to: what the client asks, and what it has yet to be sent.

Guarantees: `subscribed` comes before the first event, nothing of the channel after `unsubscribed`; a socket
that is behind is sent the record page by page, its right asked with each, until the feed takes over.
"""

from backbone.errors import Unavailable
from backbone.streams import Page, end_of, events_after
from notifier.feeds import Feeds, State, Subscription, Waker
from notifier.metrics import SUBSCRIPTIONS
from notifier.wire import Limits, Wire
from schemas.frames import ErrorFrame, Subscribe, Subscribed, Unsubscribe, Unsubscribed, event_frame


class Subscriptions:
    """The subscriptions of one socket; `session` is woken when one of them needs `advance`."""

    __slots__ = ("_feeds", "_limits", "_of_channel", "_session", "_wire")

    def __init__(self, wire: Wire, feeds: Feeds, limits: Limits, session: Waker) -> None:
        self._wire = wire
        self._feeds = feeds
        self._limits = limits
        self._session = session
        self._of_channel: dict[str, Subscription] = {}

    async def subscribe(self, frame: Subscribe) -> None:
        """Begin a subscription, or begin it again, or say why not."""
        channel_id = frame.channel_id
        if channel_id not in self._of_channel and len(self._of_channel) >= self._limits.subscriptions_max:
            most = self._limits.subscriptions_max
            await self._refuse("limit", f"{channel_id}: a socket has at most {most} subscriptions")
            return
        try:
            end = await end_of(self._feeds.database, channel_id, self._wire.user_id)
        except Unavailable as error:
            await self._refuse("unavailable", f"{channel_id}: {error}")
            return
        if end is None:
            await self._refuse("not_found", f"{channel_id}: there is no such channel")
            return
        after = frame.after_sequence
        position = end.sequence if after is None else min(after, end.sequence)
        if position < end.lacks_up_to:
            await self._refuse(
                "history_missing",
                f"{channel_id}: events up to {end.lacks_up_to} are missing; subscribe after them",
            )
            return
        self._drop(channel_id)
        await self._wire.send(Subscribed(channel_id=channel_id, sequence=position))
        subscription = Subscription(channel_id, position, end.private, self._wire, self._session)
        self._of_channel[channel_id] = subscription
        self._feeds.attach(subscription)
        SUBSCRIPTIONS.inc()
        self._session.wake()

    async def unsubscribe(self, frame: Unsubscribe) -> None:
        """End a subscription, or say that there is none."""
        if frame.channel_id not in self._of_channel:
            await self._refuse("not_found", f"{frame.channel_id}: not subscribed")
            return
        self._drop(frame.channel_id)
        await self._wire.send(Unsubscribed(channel_id=frame.channel_id, reason="asked"))

    def waiting(self) -> bool:
        """Say whether there is something that the feeds leave to `advance`."""
        return any(each.state is not State.LIVE for each in self._of_channel.values())

    async def advance(self) -> None:
        """Send a page of each subscription that is behind. Raises Unavailable."""
        for subscription in list(self._of_channel.values()):
            if subscription.state is State.LOST:
                await self._tell_lost(subscription)
            elif subscription.state is State.BEHIND:
                await self._send_page(subscription)

    def close(self) -> None:
        """End all of them."""
        for channel_id in list(self._of_channel):
            self._drop(channel_id)

    async def _send_page(self, subscription: Subscription) -> None:
        channel_id, after = subscription.channel_id, subscription.position
        user_id, limit = self._wire.user_id, self._limits.page
        page = await events_after(self._feeds.database, channel_id, user_id, after, limit)
        if page is None:
            await self._tell_lost(subscription)
            return
        for event in page.events:
            # Whoever has ended it, or begun it anew, did so while the one before was sent.
            if subscription.state is State.OVER:
                return
            await self._wire.send_encoded(event_frame(event.seen_by(page.role)), "event")
            subscription.position = event.sequence
        self._hand_over(subscription, page)

    def _hand_over(self, subscription: Subscription, page: Page) -> None:
        if subscription.state is State.BEHIND and not page.more:
            subscription.role = page.role
            self._feeds.join(subscription)

    async def _tell_lost(self, subscription: Subscription) -> None:
        if subscription.state is not State.OVER:
            self._drop(subscription.channel_id)
            await self._wire.send(Unsubscribed(channel_id=subscription.channel_id, reason="no_right"))

    def _drop(self, channel_id: str) -> None:
        subscription = self._of_channel.pop(channel_id, None)
        if subscription is not None:
            self._feeds.detach(subscription)
            SUBSCRIPTIONS.dec()

    async def _refuse(self, code: str, detail: str) -> None:
        await self._wire.send(ErrorFrame(code=code, detail=detail))
