"""Between rows and the domain's state: the one place that knows how a message lies in its table."""

from collections.abc import Mapping
from typing import Any

import msgspec

from backend.domain.state import ChannelState, MessageRecord
from schemas.clock import format_ms, parse_ms
from schemas.events import encode
from schemas.messages import Attachment, Message

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


def channel_to_row(channel: ChannelState) -> dict[str, object]:
    """Write a row of `channels`."""
    return {
        "channel_id": channel.channel_id,
        "name": channel.name,
        "private": channel.private,
        "created_by": channel.created_by,
        "created_at": channel.created_at,
        "last_sequence": channel.last_sequence,
        "last_event_at": channel.last_event_at,
    }


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


def message_to_row(record: MessageRecord) -> dict[str, object]:
    """Write a row of `messages`."""
    message = record.message
    return {
        "message_id": message.message_id,
        "channel_id": message.channel_id,
        "author_id": message.author_id,
        "content": message.content,
        "mentions": encode(message.mentions).decode(),
        "attachments": encode(message.attachments).decode(),
        "parent_id": message.parent_id,
        "sequence": message.sequence,
        "version": message.version,
        "created_at": parse_ms(message.created_at),
        "updated_at": parse_ms(message.updated_at),
        "deleted_at": record.deleted_at,
        "deleted_by": record.deleted_by,
    }
