"""Decisions about messages: post, reply, edit, delete."""

from collections.abc import Sequence
from typing import TypeVar

from msgspec import UNSET, structs

from backend.domain.access import (
    require_channel,
    require_may_delete,
    require_may_edit,
    require_message,
)
from backend.domain.channels import channel_created
from backend.domain.commands import DeleteMessage, EditMessage, PostMessage
from backend.domain.rejections import Gone, Invalid, KeyReused, Stale, TooLarge
from backend.domain.state import ChannelState, MessageRecord, Situation
from schemas.clock import format_ms, parse_ms
from schemas.events import MessageCreated, MessageDeleted, MessageUpdated, StreamEvent, encode
from schemas.messages import EVENT_MAX_BYTES, DeletedMessage, Message

E = TypeVar("E", bound=StreamEvent)


def post_message(command: PostMessage, situation: Situation, now_ms: int) -> Sequence[StreamEvent]:
    """Post, making the channel where that is asked for; nothing for a key that was used for the same."""
    channel = situation.channel
    events: list[StreamEvent] = []
    if channel is None and command.channel_event_id is not None:
        # Such a channel is named by its id.
        name = command.channel_id
        made = channel_created(
            command.channel_event_id, command.actor_id, command.channel_id, name, False, now_ms
        )
        events.append(made)
        private, sequence, moment = False, made.sequence, made.timestamp
    else:
        channel = require_channel(channel, situation.role)
        private, sequence, moment = channel.private, channel.last_sequence, max(now_ms, channel.last_event_at)
    if situation.earlier is not None:
        if situation.earlier.request_hash != command.request_hash:
            raise KeyReused("this Idempotency-Key was used before, with another body")
        return ()
    if command.parent_id is not None:
        _require_thread(command, situation.parent)
    events.append(_message_created(command, private, sequence + 1, moment))
    return events


def edit_message(command: EditMessage, situation: Situation, now_ms: int) -> Sequence[StreamEvent]:
    """Change what was asked to change; nothing where it is so already."""
    channel, record = require_message(situation.channel, situation.message, situation.role)
    message = record.message
    if record.deleted:
        raise Gone("the message was deleted")
    require_may_edit(message, command.actor_id)
    _require_version(message, command.if_match)
    wanted = {
        name: value
        for name in ("content", "mentions", "attachments")
        if (value := getattr(command, name)) is not UNSET
    }
    if all(getattr(message, name) == value for name, value in wanted.items()):
        return ()
    sequence, moment = _next(channel, message, now_ms)
    edited = structs.replace(message, **wanted, version=sequence, updated_at=format_ms(moment))
    return (
        _fitting(
            MessageUpdated(
                event_id=command.event_id,
                timestamp=moment,
                sequence=sequence,
                private=channel.private or UNSET,
                payload=edited,
            )
        ),
    )


def delete_message(command: DeleteMessage, situation: Situation, now_ms: int) -> Sequence[StreamEvent]:
    """Delete; nothing where it is deleted already."""
    channel, record = require_message(situation.channel, situation.message, situation.role)
    message = record.message
    require_may_delete(message, command.actor_id, situation.role)
    if record.deleted:
        return ()
    _require_version(message, command.if_match)
    sequence, moment = _next(channel, message, now_ms)
    return (
        MessageDeleted(
            event_id=command.event_id,
            timestamp=moment,
            sequence=sequence,
            private=channel.private or UNSET,
            payload=DeletedMessage(
                message_id=message.message_id,
                channel_id=message.channel_id,
                author_id=message.author_id,
                sequence=message.sequence,
                version=sequence,
                deleted_at=format_ms(moment),
                deleted_by=command.actor_id,
            ),
        ),
    )


def _message_created(command: PostMessage, private: bool, sequence: int, moment: int) -> MessageCreated:
    key_hash = command.idempotency_key_hash
    at = format_ms(moment)
    return _fitting(
        MessageCreated(
            event_id=command.event_id,
            timestamp=moment,
            sequence=sequence,
            private=private or UNSET,
            idempotency_key_hash=UNSET if key_hash is None else key_hash,
            request_hash=UNSET if key_hash is None else command.request_hash,
            payload=Message(
                message_id=command.message_id,
                channel_id=command.channel_id,
                author_id=command.actor_id,
                content=command.content,
                mentions=command.mentions,
                attachments=command.attachments,
                parent_id=command.parent_id,
                sequence=sequence,
                version=sequence,
                created_at=at,
                updated_at=at,
            ),
        )
    )


def _next(channel: ChannelState, message: Message, now_ms: int) -> tuple[int, int]:
    moment = max(now_ms, channel.last_event_at, parse_ms(message.updated_at) + 1)
    return channel.last_sequence + 1, moment


def _require_version(message: Message, if_match: frozenset[int] | None) -> None:
    if if_match is not None and message.version not in if_match:
        raise Stale(f"the message is at version {message.version} now")


def _require_thread(command: PostMessage, parent: MessageRecord | None) -> None:
    if parent is None or parent.deleted or parent.message.channel_id != command.channel_id:
        raise Invalid("parent_id", "there is no such message in this channel")
    if parent.message.parent_id is not None:
        raise Invalid("parent_id", "that message is a reply itself: threads have one level")


def _fitting(event: E) -> E:
    size_bytes = len(encode(event))
    if size_bytes > EVENT_MAX_BYTES:
        raise TooLarge(f"the message's event would have {size_bytes} bytes, more than {EVENT_MAX_BYTES}")
    return event
