"""Between rows and the domain's state: the one place that knows how a message lies in its table."""

from collections.abc import Mapping
from typing import Any

import msgspec

from backbone.database.tables import channels, messages
from backend.domain.state import ChannelState, MessageRecord
from schemas.clock import format_ms, parse_ms
from schemas.events import encode
from schemas.messages import Attachment, Message

_channel = channels.c
CHANNEL_COLUMNS = (
    _channel.channel_id,
    _channel.name,
    _channel.private,
    _channel.created_by,
    _channel.created_at,
    _channel.last_sequence,
    _channel.last_event_at,
)
_message = messages.c
MESSAGE_COLUMNS = (
    _message.message_id,
    _message.channel_id,
    _message.author_id,
    _message.content,
    _message.mentions,
    _message.attachments,
    _message.parent_id,
    _message.sequence,
    _message.version,
    _message.created_at,
    _message.updated_at,
    _message.deleted_at,
    _message.deleted_by,
)

_NONE = "[]"

_mentions: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])
_attachments: msgspec.json.Decoder[tuple[Attachment, ...]] = msgspec.json.Decoder(tuple[Attachment, ...])


def channel_from_row(row: Mapping[Any, Any]) -> ChannelState:
    """Read a row of `channels`."""
    return ChannelState(
        channel_id=row["channel_id"],
        name=row["name"],
        private=bool(row["private"]),
        created_by=row["created_by"],
        created_at=row["created_at"],
        last_sequence=row["last_sequence"],
        last_event_at=row["last_event_at"],
    )


def channel_to_row(channel: ChannelState) -> tuple[object, ...]:
    """Write a row of `channels`, in the order of CHANNEL_COLUMNS."""
    return (
        channel.channel_id,
        channel.name,
        channel.private,
        channel.created_by,
        channel.created_at,
        channel.last_sequence,
        channel.last_event_at,
    )


def message_from_row(row: Mapping[Any, Any]) -> MessageRecord:
    """Read a row of `messages`."""
    message = Message(
        message_id=row["message_id"],
        channel_id=row["channel_id"],
        author_id=row["author_id"],
        content=row["content"],
        mentions=_mentions.decode(row["mentions"]),
        attachments=_attachments.decode(row["attachments"]),
        parent_id=row["parent_id"],
        sequence=row["sequence"],
        version=row["version"],
        created_at=format_ms(row["created_at"]),
        updated_at=format_ms(row["updated_at"]),
    )
    return MessageRecord(message, deleted_at=row["deleted_at"], deleted_by=row["deleted_by"])


def message_to_row(record: MessageRecord) -> tuple[object, ...]:
    """Write a row of `messages`, in the order of MESSAGE_COLUMNS."""
    message = record.message
    created_at = parse_ms(message.created_at)
    as_created = message.updated_at == message.created_at
    return (
        message.message_id,
        message.channel_id,
        message.author_id,
        message.content,
        encode(message.mentions).decode() if message.mentions else _NONE,
        encode(message.attachments).decode() if message.attachments else _NONE,
        message.parent_id,
        message.sequence,
        message.version,
        created_at,
        created_at if as_created else parse_ms(message.updated_at),
        record.deleted_at,
        record.deleted_by,
    )
