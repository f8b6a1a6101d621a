"""What a webhook posts: the body, as receivers read it; it is the same whenever it is sent again."""

from typing import Literal

import msgspec

from schemas.messages import Rfc3339
from schemas.notifications import NumberedNotification

WebhookType = Literal["notification.sent", "notification.retracted"]


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, and when; `data.seq` is its number in the user's inbox."""

    type: WebhookType
    timestamp: Rfc3339
    data: NumberedNotification
