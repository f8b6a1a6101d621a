"""The fold: an event changes a channel, its members and a message in one way only, whoever replays it."""

from typing import assert_never

from msgspec import structs

from backend.domain.state import ChannelState, MemberState, MessageRecord
from schemas.clock import parse_ms
from schemas.events import (
    ChannelCreated,
    ChannelMemberAdded,
    ChannelMemberRemoved,
    ChannelRoleChanged,
    ChannelsEvent,
    MessageCreated,
    MessageDeleted,
    MessagesEvent,
    MessageUpdated,
    StreamEvent,
)


def evolve_channel(channel: ChannelState | None, event: StreamEvent) -> ChannelState:
    """Return the channel after `event`, its next one in sequence."""
    if isinstance(event, ChannelCreated):
        made = event.payload
        return ChannelState(
            channel_id=made.channel_id,
            name=made.name,
            private=made.private,
            created_by=made.created_by,
            created_at=parse_ms(made.created_at),
            last_sequence=event.sequence,
            last_event_at=event.timestamp,
        )
    if channel is None or event.sequence != channel.last_sequence + 1:
        raise ValueError(f"event {event.sequence} does not follow {channel and channel.last_sequence}")
    # Spelled out: `replace` of dataclasses takes as long as all else that a decision does.
    return ChannelState(
        channel_id=channel.channel_id,
        name=channel.name,
        private=channel.private,
        created_by=channel.created_by,
        created_at=channel.created_at,
        last_sequence=event.sequence,
        last_event_at=event.timestamp,
    )


def evolve_message(record: MessageRecord | None, event: MessagesEvent) -> MessageRecord:
    """Return the message after `event`, its next one in sequence; a deleted one loses its text."""
    match event:
        case MessageCreated() | MessageUpdated():
            return MessageRecord(event.payload)
        case MessageDeleted():
            if record is None:
                raise ValueError(f"{event.payload.message_id} is deleted before it was created")
            gone = event.payload
            emptied = structs.replace(
                record.message,
                content="",
                mentions=(),
                attachments=(),
                version=gone.version,
                updated_at=gone.deleted_at,
            )
            return MessageRecord(emptied, deleted_at=event.timestamp, deleted_by=gone.deleted_by)
        case _:
            assert_never(event)


def evolve_member(member: MemberState | None, user_id: str, event: StreamEvent) -> MemberState | None:
    """Return the user's place in the channel after `event`; the maker of a channel owns it."""
    match event:
        case ChannelCreated() if event.payload.created_by == user_id:
            return MemberState("owner", event.sequence)
        case ChannelMemberAdded() | ChannelRoleChanged() if event.payload.user_id == user_id:
            return MemberState(event.payload.role, event.sequence)
        case ChannelMemberRemoved() if event.payload.user_id == user_id:
            return None
        case _:
            return member


def member_of(event: ChannelsEvent) -> str:
    """Return the user whose place in the channel the event changes."""
    return event.payload.created_by if isinstance(event, ChannelCreated) else event.payload.user_id
