"""Writes what a group decided: a statement a table at most, however many commands there were."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import RowsStatement, insert_rows, write_together
from backbone.database.tables import (
    channel_members,
    channel_reads,
    channels,
    idempotency_keys,
    message_events,
    messages,
    outbox,
)
from backbone.outbox import outbox_row
from backend.commands.group import Group
from backend.rows import CHANNEL_COLUMNS, MESSAGE_COLUMNS, channel_to_row, message_to_row
from schemas.events import MessageCreated, MessagesEvent, StreamEvent, encode, event_type

_INSERT_CHANNELS = insert_rows(channels, CHANNEL_COLUMNS)
_NUMBER_CHANNELS = RowsStatement(
    [channels.c.channel_id, channels.c.last_sequence, channels.c.last_event_at],
    "UPDATE channels SET last_sequence = given.last_sequence, last_event_at = given.last_event_at"
    " FROM {given} WHERE channels.channel_id = given.channel_id",
)
_UPSERT_MEMBERS = insert_rows(
    channel_members, tuple(channel_members.c), [channel_members.c.role, channel_members.c.version]
)
_DELETE_MEMBERS = RowsStatement(
    [channel_members.c.channel_id, channel_members.c.user_id],
    "DELETE FROM channel_members WHERE (channel_id, user_id) IN (SELECT channel_id, user_id FROM {given})",
)
_UPSERT_MESSAGES = insert_rows(
    messages,
    MESSAGE_COLUMNS,
    [
        messages.c.content,
        messages.c.mentions,
        messages.c.attachments,
        messages.c.version,
        messages.c.updated_at,
        messages.c.deleted_at,
        messages.c.deleted_by,
    ],
)
_INSERT_EVENTS = insert_rows(message_events, tuple(message_events.c))
_INSERT_KEYS = insert_rows(idempotency_keys, tuple(idempotency_keys.c))
# Numbers are given by the database, and events have no key of their own.
_OUTBOX_COLUMNS = tuple(
    column for column in outbox.c if column is not outbox.c.position and column is not outbox.c.record_key
)
_SHARD = _OUTBOX_COLUMNS.index(outbox.c.shard)
_INSERT_OUTBOX = insert_rows(outbox, _OUTBOX_COLUMNS)
_RAISE_READ_MARKS = insert_rows(channel_reads, tuple(channel_reads.c), rising=[channel_reads.c.sequence])

Rows = list[tuple[Any, ...]]


async def save(connection: AsyncConnection, group: Group, shards: int) -> frozenset[int]:
    """Write what the group decided; return the shards of the outbox that it wrote to.

    Raises IntegrityError when another process was first.
    """
    event_rows, outbox_rows = _rows_of_events(group.events, shards)
    await write_together(
        connection,
        (
            (
                _INSERT_CHANNELS,
                [channel_to_row(group.channels[each]) for each in sorted(group.made_channels)],
            ),
            (_NUMBER_CHANNELS, _numbers(group)),
            (_UPSERT_MEMBERS, _present_members(group)),
            (_DELETE_MEMBERS, sorted(group.touched_members - group.members.keys())),
            (_INSERT_EVENTS, event_rows),
            (_INSERT_OUTBOX, outbox_rows),
            (
                _UPSERT_MESSAGES,
                [message_to_row(group.messages[each]) for each in sorted(group.touched_messages)],
            ),
            (_INSERT_KEYS, _key_rows(group.events)),
            (_RAISE_READ_MARKS, [(*key, sequence) for key, sequence in sorted(group.read_marks.items())]),
        ),
    )
    return frozenset(int(row[_SHARD]) for row in outbox_rows)


def _numbers(group: Group) -> Rows:
    """Return what events changed of the channels that were there, which are locked."""
    changed = {event.payload.channel_id for event in group.events} - group.made_channels
    return [
        (each, group.channels[each].last_sequence, group.channels[each].last_event_at)
        for each in sorted(changed)
    ]


def _present_members(group: Group) -> Rows:
    return [
        (*key, member.role, member.version)
        for key in sorted(group.touched_members)
        if (member := group.members.get(key)) is not None
    ]


def _rows_of_events(events: Sequence[StreamEvent], shards: int) -> tuple[Rows, Rows]:
    event_rows: Rows = []
    outbox_rows: Rows = []
    for event in events:
        body = encode(event).decode()
        channel_id = event.payload.channel_id
        message_id = event.payload.message_id if isinstance(event, MessagesEvent) else None
        kind = event_type(event)
        event_rows.append(
            (channel_id, event.sequence, event.event_id, kind, message_id, event.timestamp, body)
        )
        row = outbox_row("messages", shards, channel_id, event, body)
        outbox_rows.append(tuple(row[column.name] for column in _OUTBOX_COLUMNS))
    return event_rows, outbox_rows


def _key_rows(events: Sequence[StreamEvent]) -> Rows:
    # Sorted, so that two processes that use the same keys wait for each other in one order.
    return sorted(
        (
            event.payload.author_id,
            event.idempotency_key_hash,
            str(event.request_hash),
            event.payload.message_id,
        )
        for event in events
        if isinstance(event, MessageCreated) and isinstance(event.idempotency_key_hash, str)
    )
