"""Writes what a group decided: one statement a table, however many commands there were."""

from collections.abc import Sequence

from sqlalchemy import Column, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import insert_rows, table_of, upsert_rows
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

_EVENT_COLUMNS = (
    message_events.c.channel_id,
    message_events.c.sequence,
    message_events.c.event_id,
    message_events.c.event_type,
    message_events.c.message_id,
    message_events.c.timestamp,
    message_events.c.body,
)
_OUTBOX_COLUMNS = tuple(column for column in outbox.c if column is not outbox.c.position)
_KEY_COLUMNS = tuple(idempotency_keys.c)
_MEMBER_COLUMNS = tuple(channel_members.c)
_READ_COLUMNS = tuple(channel_reads.c)
_CHANGING_OF_CHANNEL = (channels.c.last_sequence, channels.c.last_event_at)
_CHANGING_OF_MESSAGE = (
    messages.c.content,
    messages.c.mentions,
    messages.c.attachments,
    messages.c.version,
    messages.c.updated_at,
    messages.c.deleted_at,
    messages.c.deleted_by,
)


async def save(connection: AsyncConnection, group: Group, shards: int) -> frozenset[int]:
    """Write what the group decided; return the shards of the outbox that it wrote to.

    Raises IntegrityError when another process was first.
    """
    written: frozenset[int] = frozenset()
    if group.events:
        await _save_channels(connection, group)
        await _save_members(connection, group)
        written = await _save_events(connection, group.events, shards)
        records = [group.messages[message_id] for message_id in sorted(group.touched_messages)]
        await upsert_rows(
            connection,
            messages,
            MESSAGE_COLUMNS,
            [message_to_row(record) for record in records],
            _CHANGING_OF_MESSAGE,
        )
        await insert_rows(connection, idempotency_keys, _KEY_COLUMNS, _key_rows(group.events))
    await _save_read_marks(connection, group)
    return written


async def _save_channels(connection: AsyncConnection, group: Group) -> None:
    """Write new channels, then what events changed of the others, which are locked."""
    made = [channel_to_row(group.channels[channel_id]) for channel_id in sorted(group.made_channels)]
    await insert_rows(connection, channels, CHANNEL_COLUMNS, made)
    changed = sorted({event.payload.channel_id for event in group.events} - group.made_channels)
    if not changed:
        return
    key = channels.c.channel_id
    rows = [
        (channel_id, group.channels[channel_id].last_sequence, group.channels[channel_id].last_event_at)
        for channel_id in changed
    ]
    given = table_of(connection, "given", [key, *_CHANGING_OF_CHANNEL], rows)
    await connection.execute(
        channels.update()
        .where(key == given.c.channel_id)
        .values(last_sequence=given.c.last_sequence, last_event_at=given.c.last_event_at)
    )


async def _save_members(connection: AsyncConnection, group: Group) -> None:
    present = [
        (*key, member.role, member.version)
        for key in sorted(group.touched_members)
        if (member := group.members.get(key)) is not None
    ]
    changing: tuple[Column[str], Column[int]] = (channel_members.c.role, channel_members.c.version)
    await upsert_rows(connection, channel_members, _MEMBER_COLUMNS, present, changing)
    gone = sorted(group.touched_members - group.members.keys())
    if gone:
        columns = channel_members.c
        given = table_of(connection, "given", [columns.channel_id, columns.user_id], gone)
        same = (given.c.channel_id == columns.channel_id) & (given.c.user_id == columns.user_id)
        await connection.execute(
            delete(channel_members).where(select(1).select_from(given).where(same).exists())
        )


async def _save_events(
    connection: AsyncConnection, events: Sequence[StreamEvent], shards: int
) -> frozenset[int]:
    event_rows: list[tuple[object, ...]] = []
    outbox_rows: list[tuple[object, ...]] = []
    written: set[int] = set()
    for event in events:
        body = encode(event).decode()
        channel_id = event.payload.channel_id
        message_id = event.payload.message_id if isinstance(event, MessagesEvent) else None
        event_rows.append(
            (
                channel_id,
                event.sequence,
                event.event_id,
                event_type(event),
                message_id,
                event.timestamp,
                body,
            )
        )
        row = outbox_row("messages", shards, channel_id, event, body)
        outbox_rows.append(tuple(row[column.name] for column in _OUTBOX_COLUMNS))
        written.add(row["shard"])
    await insert_rows(connection, message_events, _EVENT_COLUMNS, event_rows)
    await insert_rows(connection, outbox, _OUTBOX_COLUMNS, outbox_rows)
    return frozenset(written)


async def _save_read_marks(connection: AsyncConnection, group: Group) -> None:
    if not group.read_marks:
        return
    rows = [(*key, sequence) for key, sequence in sorted(group.read_marks.items())]
    await upsert_rows(connection, channel_reads, _READ_COLUMNS, rows, [], rising=[channel_reads.c.sequence])


def _key_rows(events: Sequence[StreamEvent]) -> list[tuple[object, ...]]:
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
