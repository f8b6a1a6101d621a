"""The events of the platform, their envelope, and the codec that reads and writes them.

An event is UTF-8 JSON. Readers ignore fields that they do not know; fields are only ever added.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from schemas.channels import Channel, Membership
from schemas.codec import encode as encode  # noqa: PLC0414 - told on to readers of events
from schemas.messages import DeletedMessage, Message
from schemas.notifications import Notification
from schemas.preferences import ChannelLevel, InboxMark, QuietHours
from schemas.versions import SCHEMA_VERSION as SCHEMA_VERSION  # noqa: PLC0414 - told on likewise
from schemas.versions import EventDecoder


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type"):
    """The envelope that all events share; `timestamp` is in epoch milliseconds."""

    event_id: str
    timestamp: Annotated[int, Meta(ge=0)]
    schema_version: Annotated[int, Meta(ge=1)] = SCHEMA_VERSION


class ChannelEvent(Event, frozen=True, kw_only=True):
    """An event in the stream of a channel; `sequence` is its number there."""

    sequence: Annotated[int, Meta(ge=1)]


class MessageEvent(ChannelEvent, frozen=True, kw_only=True):
    """An event of a message.

    `private` is that of the channel, which is fixed for its life: a reader of this event alone
    knows who may see the message, without asking the database.
    """

    private: bool | UnsetType = UNSET


class MessageCreated(MessageEvent, frozen=True, kw_only=True, tag="message.created"):
    """A message was posted; the hashes stand there when the post had an Idempotency-Key."""

    payload: Message
    idempotency_key_hash: str | UnsetType = UNSET
    request_hash: str | UnsetType = UNSET


class MessageUpdated(MessageEvent, frozen=True, kw_only=True, tag="message.updated"):
    """A message was edited; the payload is the whole message after the edit."""

    payload: Message


class MessageDeleted(MessageEvent, frozen=True, kw_only=True, tag="message.deleted"):
    """A message was deleted, by its author or by an owner of the channel."""

    payload: DeletedMessage


class ChannelCreated(ChannelEvent, frozen=True, kw_only=True, tag="channel.created"):
    """A channel was made; always sequence 1. Its maker is the first owner."""

    payload: Channel


class ChannelMemberAdded(ChannelEvent, frozen=True, kw_only=True, tag="channel.member_added"):
    """A user joined a channel or was added to it."""

    payload: Membership


class ChannelMemberRemoved(ChannelEvent, frozen=True, kw_only=True, tag="channel.member_removed"):
    """A user left a channel or was removed from it."""

    payload: Membership


class ChannelRoleChanged(ChannelEvent, frozen=True, kw_only=True, tag="channel.role_changed"):
    """A member became an owner, or an owner a member."""

    payload: Membership


class NotificationSent(Event, frozen=True, kw_only=True, tag="notification.sent"):
    """A notification was put into its user's inbox; `seq` is its gapless number there."""

    seq: Annotated[int, Meta(ge=1)]
    payload: Notification


class NotificationRetracted(Event, frozen=True, kw_only=True, tag="notification.retracted"):
    """A notification was taken back; the retraction takes the next `seq` of the user."""

    seq: Annotated[int, Meta(ge=1)]
    payload: Notification


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """One request of one user: `link` is the path, `duration_ms` and `footprint_time` in milliseconds."""

    user_id: str
    method: str
    link: str
    status: int
    duration_ms: float
    footprint_time: int


class UserActivity(Event, frozen=True, kw_only=True, tag="user.activity"):
    """A user asked the backend for something."""

    payload: Activity


class UserChannelLevelSet(Event, frozen=True, kw_only=True, tag="user.channel_level_set"):
    """A user chose what to be told of a channel."""

    payload: ChannelLevel


class UserDoNotDisturbSet(Event, frozen=True, kw_only=True, tag="user.do_not_disturb_set"):
    """A user chose when not to be disturbed."""

    payload: QuietHours


class UserInboxRead(Event, frozen=True, kw_only=True, tag="user.inbox_read"):
    """A user has read the inbox up to a number, which only rises."""

    payload: InboxMark


MessagesEvent = MessageCreated | MessageUpdated | MessageDeleted
ChannelsEvent = ChannelCreated | ChannelMemberAdded | ChannelMemberRemoved | ChannelRoleChanged
StreamEvent = MessagesEvent | ChannelsEvent
UsersEvent = UserChannelLevelSet | UserDoNotDisturbSet | UserInboxRead
AnyEvent = StreamEvent | NotificationSent | NotificationRetracted | UsersEvent | UserActivity

_any: EventDecoder[AnyEvent] = EventDecoder(AnyEvent)
_of_streams: EventDecoder[StreamEvent] = EventDecoder(StreamEvent)
_of_messages: EventDecoder[MessagesEvent] = EventDecoder(MessagesEvent)


def decode(data: bytes | str) -> AnyEvent:
    """Read any event. Raises msgspec.DecodeError (or its ValidationError) when it is not one."""
    return _any.decode(data)


def decode_stream_event(data: bytes | str) -> StreamEvent:
    """Read an event of a channel's stream. Raises msgspec.DecodeError when it is not one."""
    return _of_streams.decode(data)


def decode_message_event(data: bytes | str) -> MessagesEvent:
    """Read an event of a message. Raises msgspec.DecodeError when it is not one."""
    return _of_messages.decode(data)


def event_type(event: Event) -> str:
    """Return the tag of an event, such as `message.created`."""
    return str(event.__struct_config__.tag)
