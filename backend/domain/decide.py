"""The decisions: a command and its situation in, events out, or Rejected.

Events take the channel's next sequences. Their time is never before the channel's last event, and
at least 1 ms after the message's own last one. No events means: it already is as asked.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar, assert_never

from msgspec import UNSET, structs

from backend.domain.commands import Command, DeleteMessage, EditMessage, PostMessage
from backend.domain.rejections import Forbidden, Gone, Invalid, KeyReused, NotFound, Stale, TooLarge
from backend.domain.state import ChannelState, MessageRecord, Situation
from schemas.channels import Channel
from schemas.clock import format_ms, parse_ms
from schemas.events import ChannelCreated, MessageCreated, MessageDeleted, MessageUpdated, StreamEvent, encode
from schemas.messages import EVENT_MAX_BYTES, DeletedMessage, Message

NewEventId = Callable[[], str]
E = TypeVar("E", bound=StreamEvent)


def decide(
    command: Command, situation: Situation, now_ms: int, new_event_id: NewEventId
) -> Sequence[StreamEvent]:
    """Return the events that carry the command out. Raises Rejected."""
    match command:
        case PostMessage():
            return _post(command, situation, now_ms, new_event_id)
        case EditMessage():
            return _edit(command, situation, now_ms, new_event_id)
        case DeleteMessage():
            return _delete(command, situation, now_ms, new_event_id)
        case _:
            assert_never(command)


def _post(
    command: PostMessage, situation: Situation, now_ms: int, new_event_id: NewEventId
) -> Sequence[StreamEvent]:
    if situation.earlier is not None:
        if situation.earlier.request_hash != command.request_hash:
            raise KeyReused("this Idempotency-Key was used before, with another body")
        return ()
    events: list[StreamEvent] = []
    channel = situation.channel
    if channel is None:
        made = _channel_created(command, now_ms, new_event_id())
        events.append(made)
        private, sequence, moment = False, made.sequence, made.timestamp
    else:
        _require_readable(channel, situation.role)
        private, sequence, moment = channel.private, channel.last_sequence, max(now_ms, channel.last_event_at)
    if command.parent_id is not None:
        _require_thread(command, situation.parent)
    events.append(_message_created(command, private, sequence + 1, moment, new_event_id()))
    return events


def _message_created(
    command: PostMessage, private: bool, sequence: int, moment: int, event_id: str
) -> MessageCreated:
    key_hash = command.idempotency_key_hash
    at = format_ms(moment)
    return _fitting(
        MessageCreated(
            event_id=event_id,
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


def _edit(
    command: EditMessage, situation: Situation, now_ms: int, new_event_id: NewEventId
) -> Sequence[StreamEvent]:
    channel, record = _require_message(situation)
    message = record.message
    if record.deleted:
        raise Gone("the message was deleted")
    if message.author_id != command.actor_id:
        raise Forbidden("only its author may edit a message")
    if command.if_match is not None and message.version not in command.if_match:
        raise Stale(f"the message is at version {message.version} now")
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
                event_id=new_event_id(),
                timestamp=moment,
                sequence=sequence,
                private=channel.private or UNSET,
                payload=edited,
            )
        ),
    )


def _delete(
    command: DeleteMessage, situation: Situation, now_ms: int, new_event_id: NewEventId
) -> Sequence[StreamEvent]:
    channel, record = _require_message(situation)
    message = record.message
    if message.author_id != command.actor_id and situation.role != "owner":
        raise Forbidden("only its author or an owner of the channel may delete a message")
    if record.deleted:
        return ()
    sequence, moment = _next(channel, message, now_ms)
    return (
        MessageDeleted(
            event_id=new_event_id(),
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


def _channel_created(command: PostMessage, now_ms: int, event_id: str) -> ChannelCreated:
    return ChannelCreated(
        event_id=event_id,
        timestamp=now_ms,
        sequence=1,
        payload=Channel(
            channel_id=command.channel_id,
            name=command.channel_id,
            created_by=command.actor_id,
            created_at=format_ms(now_ms),
        ),
    )


def _next(channel: ChannelState, message: Message, now_ms: int) -> tuple[int, int]:
    moment = max(now_ms, channel.last_event_at, parse_ms(message.updated_at) + 1)
    return channel.last_sequence + 1, moment


def _require_readable(channel: ChannelState, role: str | None) -> None:
    if channel.private and role is None:
        raise NotFound("there is no such channel")


def _require_message(situation: Situation) -> tuple[ChannelState, MessageRecord]:
    channel, record = situation.channel, situation.message
    if channel is None or record is None or (channel.private and situation.role is None):
        raise NotFound("there is no such message")
    return channel, record


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
