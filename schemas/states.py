"""The state topic's values, folded out of events: the last state of each message."""

from typing import assert_never

import msgspec

from schemas.codec import decode_with
from schemas.events import MessageCreated, MessageDeleted, MessagesEvent, MessageUpdated
from schemas.messages import MessageState

_decoder: msgspec.json.Decoder[MessageState] = msgspec.json.Decoder(MessageState)


def state_after(event: MessagesEvent) -> MessageState:
    """Return the state of the message after `event`; every event carries all that it needs."""
    private = event.private is True
    match event:
        case MessageCreated() | MessageUpdated():
            message = event.payload
            return MessageState(
                message_id=message.message_id,
                channel_id=message.channel_id,
                author_id=message.author_id,
                sequence=message.sequence,
                version=message.version,
                private=private,
                content=message.content,
                mentions=message.mentions,
                attachments=message.attachments,
                parent_id=message.parent_id,
                created_at=message.created_at,
                updated_at=message.updated_at,
            )
        case MessageDeleted():
            gone = event.payload
            return MessageState(
                message_id=gone.message_id,
                channel_id=gone.channel_id,
                author_id=gone.author_id,
                sequence=gone.sequence,
                version=gone.version,
                private=private,
                deleted=True,
                deleted_at=gone.deleted_at,
                deleted_by=gone.deleted_by,
            )
        case _:
            assert_never(event)


def decode_state(data: bytes | str) -> MessageState:
    """Read a value of the state topic. Raises msgspec.DecodeError when it is not one."""
    return decode_with(_decoder, data)
