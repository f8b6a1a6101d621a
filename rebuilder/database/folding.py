"""Folds the record into channels, members and messages, as the backend does: `backend.domain.evolve`.

Guarantees: it holds the events of a few hundred channels or messages at a time; a channel with a gap, or a
message without its creation, is left to be folded when the rest has come. Killed at any point, it goes on.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Text, delete, distinct, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import RowsStatement, insert_rows
from backbone.database.tables import channel_members, channels, messages
from backend.domain.evolve import evolve_channel, evolve_member, evolve_message, member_of
from backend.domain.state import MemberState, MessageRecord
from backend.rows import CHANNEL_COLUMNS, MESSAGE_COLUMNS, channel_to_row, message_from_row, message_to_row
from rebuilder.database.rows import CHANNEL, MEMBERS, MESSAGE
from rebuilder.database.side import Side
from rebuilder.database.tables import touched
from schemas.events import (
    ChannelCreated,
    ChannelsEvent,
    MessagesEvent,
    decode_message_event,
    decode_stream_event,
)

_AT_ONCE = 500
_id = Column("id", Text)
_MEMBERS_EVENTS = RowsStatement(
    [_id],
    "SELECT channel_id, body FROM message_events JOIN {given} ON given.id = channel_id"
    " WHERE message_id IS NULL ORDER BY channel_id, sequence",
)
_FOLLOWING = RowsStatement(
    [_id],
    "SELECT e.channel_id, count(*) AS events, max(e.sequence) AS sequence, max(e.timestamp) AS happened_at,"
    " max(coalesce(c.last_sequence, 0)) AS before"
    " FROM {given} JOIN message_events e ON e.channel_id = given.id"
    " LEFT JOIN channels c ON c.channel_id = given.id"
    " WHERE e.sequence > coalesce(c.last_sequence, 0) GROUP BY e.channel_id",
)
_HISTORIES = RowsStatement(
    [_id],
    "SELECT e.message_id, e.body FROM message_events e JOIN {given} ON given.id = e.message_id"
    " JOIN channels c ON c.channel_id = e.channel_id ORDER BY e.message_id, e.sequence",
)
_STORED = RowsStatement([_id], "SELECT m.* FROM messages m JOIN {given} ON given.id = m.message_id")
_channel = channels.c
_PUT_CHANNELS = insert_rows(channels, CHANNEL_COLUMNS, changing=[_channel.name])
_NUMBER = RowsStatement(
    [_channel.channel_id, _channel.last_sequence, _channel.last_event_at],
    "UPDATE channels SET last_sequence = given.last_sequence, last_event_at = given.last_event_at"
    " FROM {given} WHERE channels.channel_id = given.channel_id",
)
_PUT_MEMBERS = insert_rows(channel_members, tuple(channel_members.c))
_message = messages.c
_PUT_MESSAGES = insert_rows(
    messages,
    MESSAGE_COLUMNS,
    changing=[
        _message.content,
        _message.mentions,
        _message.attachments,
        _message.version,
        _message.updated_at,
        _message.deleted_at,
        _message.deleted_by,
    ],
)

Folded = Callable[[int], None]
# Folds what it is given; returns what of it is done with.
_Fold = Callable[[AsyncConnection, Sequence[str]], Any]


async def fold(side: Side, folded: Folded) -> None:
    """Fold whatever was touched, as far as that can be; `folded` is told how many. Raises Unavailable."""
    await _each(side, MEMBERS, _fold_members, folded)
    await _each(side, CHANNEL, _number_channels, folded)
    await _each(side, MESSAGE, _fold_messages, folded)


async def left(side: Side) -> int:
    """Return how many channels and messages could not be folded."""
    query = select(func.count()).select_from(select(touched).distinct().subquery())
    async with side.database.looking() as connection:
        return int(await connection.scalar(query) or 0)


async def touch_channels(side: Side) -> None:
    """After a load in bulk: have every channel of the record numbered."""
    async with side.database.writing() as connection:
        await connection.execute(
            text(f"INSERT INTO rebuild_touched SELECT '{CHANNEL}', channel_id FROM message_events GROUP BY 2")
        )
        await connection.execute(text("ANALYZE"))


async def _each(side: Side, kind: str, do: _Fold, folded: Folded) -> None:
    after = ""
    while True:
        ids = (
            select(distinct(touched.c.id))
            .where(touched.c.kind == kind, touched.c.id > after)
            .order_by(touched.c.id)
            .limit(_AT_ONCE)
        )
        async with side.database.writing() as connection:
            found = list(await connection.scalars(ids))
            if not found:
                return
            done = await do(connection, found)
            if done:
                this = (touched.c.kind == kind) & touched.c.id.in_(done)
                await connection.execute(delete(touched).where(this))
        after = found[-1]
        folded(len(found))


async def _fold_members(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    rows = (await _MEMBERS_EVENTS.execute(connection, _single(ids))).all()
    made, members, done = [], [], []
    for channel_id, its in groupby(rows, key=lambda row: row.channel_id):
        events = [decode_stream_event(row.body) for row in its]
        if not isinstance(events[0], ChannelCreated):
            continue
        channel = evolve_channel(None, events[0])
        # Its numbers are given once it is seen to be whole.
        row = list(channel_to_row(channel))
        row[CHANNEL_COLUMNS.index(_channel.last_sequence)] = 0
        made.append(tuple(row))
        members += [(channel_id, *row) for row in _members_after(events)]
        done.append(channel_id)
    if made:
        await _PUT_CHANNELS.execute(connection, made)
        await connection.execute(delete(channel_members).where(channel_members.c.channel_id.in_(done)))
    if members:
        await _PUT_MEMBERS.execute(connection, members)
    return done


def _members_after(events: Sequence[Any]) -> list[tuple[str, str, int]]:
    members: dict[str, MemberState] = {}
    for event in events:
        if not isinstance(event, ChannelsEvent):
            continue
        user_id = member_of(event)
        member = evolve_member(members.get(user_id), user_id, event)
        if member is None:
            members.pop(user_id, None)
        else:
            members[user_id] = member
    return [(user_id, members[user_id].role, members[user_id].version) for user_id in sorted(members)]


async def _number_channels(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    rows = (await _FOLLOWING.execute(connection, _single(ids))).all()
    whole = [row for row in rows if row.events == row.sequence - row.before]
    present = set(
        await connection.scalars(
            select(_channel.channel_id).where(_channel.channel_id.in_([row.channel_id for row in whole]))
        )
    )
    numbers = [(row.channel_id, row.sequence, row.happened_at) for row in whole if row.channel_id in present]
    if numbers:
        await _NUMBER.execute(connection, numbers)
    # Of those that are numbered already, nothing follows.
    unnumbered = {row.channel_id for row in rows} - {number[0] for number in numbers}
    return [each for each in ids if each not in unnumbered]


async def _fold_messages(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    rows = (await _HISTORIES.execute(connection, _single(ids))).all()
    stored = {
        row["message_id"]: message_from_row(row)
        for row in (await _STORED.execute(connection, _single(ids))).mappings()
    }
    folded: dict[str, MessageRecord] = {}
    for message_id, its in groupby(rows, key=lambda row: row.message_id):
        events = [decode_message_event(row.body) for row in its]
        record = _record_after(stored.get(message_id), events)
        if record is not None:
            folded[message_id] = record
    if folded:
        await _PUT_MESSAGES.execute(connection, [message_to_row(folded[each]) for each in sorted(folded)])
    return list(folded)


def _record_after(stored: MessageRecord | None, events: Sequence[MessagesEvent]) -> MessageRecord | None:
    """Return the message after its events, which follow its creation, or a state where that is not there."""
    record = None
    if events[0].payload.sequence != events[0].sequence:
        if stored is None:
            return None  # its creation has yet to come
        record = stored
        events = [event for event in events if event.sequence > stored.message.version]
    for event in events:
        record = evolve_message(record, event)
    return record


def _single(ids: Sequence[str]) -> list[tuple[str]]:
    return [(each,) for each in ids]
