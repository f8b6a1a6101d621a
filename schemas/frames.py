"""The frames of the WebSocket protocol `maeari.v1`, one struct each, JSON text frames."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.codec import decode_with
from schemas.events import StreamEvent
from schemas.messages import Identifier
from schemas.notifications import Notification

SUBPROTOCOL = "maeari.v1"
Position = Annotated[int, Meta(ge=0)]

CLOSE_BAD_FRAME = 4400
CLOSE_NOT_AUTHENTICATED = 4401
CLOSE_FORBIDDEN_ORIGIN = 4403
CLOSE_TOO_SLOW = 4408
CLOSE_RESTARTING = 1012
# RFC 6455's registry: try again later.
CLOSE_TOO_MANY = 1013


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all frames share: their `type`."""


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    """The first frame of the server. Another `epoch` than known: start from 0."""

    user_id: str
    epoch: int
    latest_seq: Position
    heartbeat_s: int


class NotificationFrame(Frame, frozen=True, kw_only=True, tag="notification"):
    """A notification, under its number in the user's inbox."""

    seq: Position
    notification: Notification


class Retracted(Frame, frozen=True, kw_only=True, tag="retracted"):
    """A notification was taken back; the retraction takes a number of its own."""

    seq: Position
    notification_id: str


class Read(Frame, frozen=True, kw_only=True, tag="read"):
    """Everything up to `up_to` was read: from a client, and to the user's other sockets."""

    up_to: Position


class Ack(Frame, frozen=True, kw_only=True, tag="ack"):
    """The client has seen `seq`; for metrics only."""

    seq: Position


class Subscribe(Frame, frozen=True, kw_only=True, tag="subscribe"):
    """The client asks for a channel's events after `after_sequence`, or from now on."""

    channel_id: Identifier
    after_sequence: Position | None = None


class Subscribed(Frame, frozen=True, kw_only=True, tag="subscribed"):
    """Every event of the channel after `sequence` follows."""

    channel_id: str
    sequence: Position


class EventFrame(Frame, frozen=True, kw_only=True, tag="event"):
    """An event of a subscribed channel, in order."""

    event: StreamEvent


class Unsubscribe(Frame, frozen=True, kw_only=True, tag="unsubscribe"):
    """The client wants no more events of the channel."""

    channel_id: Identifier


class Unsubscribed(Frame, frozen=True, kw_only=True, tag="unsubscribed"):
    """No more events of the channel follow."""

    channel_id: str
    reason: Literal["asked", "no_right"]


class ErrorFrame(Frame, frozen=True, kw_only=True, tag="error"):
    """A request of the client was refused; the socket stays open."""

    code: str
    detail: str


ClientFrame = Read | Ack | Subscribe | Unsubscribe
ServerFrame = (
    Hello | NotificationFrame | Retracted | Read | Subscribed | EventFrame | Unsubscribed | ErrorFrame
)

_client_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
_server_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)


def decode_client_frame(data: bytes | str) -> ClientFrame:
    """Read a frame of a client. Raises msgspec.DecodeError when it is not one."""
    return decode_with(_client_decoder, data)


def decode_server_frame(data: bytes | str) -> ServerFrame:
    """Read a frame of the server. Raises msgspec.DecodeError when it is not one."""
    return decode_with(_server_decoder, data)


def event_frame(event: str) -> bytes:
    """Return the frame of an event whose JSON is at hand."""
    return b'{"type":"event","event":%b}' % event.encode()
