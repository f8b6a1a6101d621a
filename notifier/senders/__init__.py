"""The port of the ways out besides sockets: what is pushed, to whom it goes, and what a failure means.

Guarantees of every adapter: `send` returns once the receiver has taken the push, within a bounded time;
sent again, a push has the same id and the same body.
"""

from typing import Protocol

import msgspec

from schemas.clock import format_ms
from schemas.codec import encode
from schemas.events import NotificationRetracted, NotificationSent
from schemas.notifications import NumberedNotification
from schemas.webhooks import Webhook, WebhookType

PushedEvent = NotificationSent | NotificationRetracted


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be pushed; `push_id` names it for ever, whoever sends it, and however often."""

    push_id: str
    body: Webhook

    @property
    def user_id(self) -> str:
        """Whom it is for: one user's pushes go out in the order of `seq`."""
        return self.body.data.user_id

    @property
    def seq(self) -> int:
        """Its number in the user's inbox."""
        return self.body.data.seq

    def json(self) -> bytes:
        """Return the body as it is sent and signed."""
        return encode(self.body)


class NotTaken(Exception):
    """The receiver did not take a push; whether it ever will only its answers to others can tell.

    `wait_s` is how long the receiver, as a whole, asks to be left alone, None where it does not say.
    """

    def __init__(self, detail: str, wait_s: float | None = None) -> None:
        super().__init__(detail)
        self.wait_s = wait_s


class Sender(Protocol):
    """A way out; several pushes may be on their way at once."""

    name: str

    async def send(self, push: Push) -> None:
        """Hand a push to the receiver. Raises NotTaken."""

    async def close(self) -> None:
        """Release the connections."""


def push_of(event: PushedEvent) -> Push | None:
    """Return what an event has pushed: None for what was muted, and for what was born retracted.

    A retraction is pushed where its notification was: of a muted one nobody outside was told.
    """
    notification = event.payload
    sent = isinstance(event, NotificationSent)
    if notification.muted or (sent and notification.retracted is True):
        return None
    kind: WebhookType = "notification.sent" if sent else "notification.retracted"
    fields = {name: getattr(notification, name) for name in notification.__struct_fields__}
    return Push(
        push_id=notification.notification_id + ("" if sent else "_retracted"),
        body=Webhook(
            type=kind,
            timestamp=format_ms(event.timestamp),
            data=NumberedNotification(seq=event.seq, **fields),
        ),
    )
