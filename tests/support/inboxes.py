"""Channels and inboxes of a database, filled and looked into."""

from collections.abc import Sequence

from sqlalchemy import insert, select

from backbone.clock import SystemClock
from backbone.database.engine import Database
from backbone.database.tables import channel_members, channels, inbox, memberships, message_events, outbox
from notifier.announcements import Announcer
from notifier.inbox import Inbox
from notifier.memberships import remember
from schemas.events import (
    ChannelsEvent,
    MessagesEvent,
    NotificationRetracted,
    NotificationSent,
    decode,
    decode_stream_event,
)


async def entries(database: Database, user_id: str) -> list[tuple[int, str, str, str | None, bool]]:
    """Return a user's inbox: seq, kind, message, body, retracted."""
    columns = inbox.c
    query = select(columns.seq, columns.kind, columns.message_id, columns.body, columns.retracted)
    async with database.reading() as connection:
        rows = await connection.execute(query.where(columns.user_id == user_id).order_by(columns.seq))
        return [(row.seq, row.kind, row.message_id, row.body, row.retracted) for row in rows]


async def reasons(database: Database, user_id: str) -> list[tuple[str, str]]:
    """Return of which messages a user was told, in order, and why."""
    columns = inbox.c
    query = select(columns.message_id, columns.reason).where(columns.kind == "notification")
    async with database.reading() as connection:
        rows = await connection.execute(query.where(columns.user_id == user_id).order_by(columns.seq))
        return [(row.message_id, row.reason) for row in rows]


async def untold(database: Database) -> list[NotificationSent | NotificationRetracted]:
    """Return the events that wait in the outbox, in order."""
    async with database.reading() as connection:
        rows = list(await connection.execute(select(outbox).order_by(outbox.c.position)))
    events = [decode(row.body) for row in rows]
    assert all(row.lane == "notifications" and row.topic == "notifications.sent" for row in rows)
    assert all(isinstance(event, NotificationSent | NotificationRetracted) for event in events)
    return [event for event in events if isinstance(event, NotificationSent | NotificationRetracted)]


async def add_channel(database: Database, channel_id: str, private: bool, members: Sequence[str]) -> None:
    """Make a channel and its members."""
    channel = {
        "channel_id": channel_id,
        "name": channel_id,
        "private": private,
        "created_by": "author",
        "created_at": 1,
        "last_sequence": 1,
        "last_event_at": 1,
    }
    async with database.writing() as connection:
        await connection.execute(insert(channels), [channel])
    await add_members(database, channel_id, *members)


async def add_members(database: Database, channel_id: str, *user_ids: str, sequence: int = 1) -> None:
    """Let users in, on both sides, by events of this number."""
    row = {"channel_id": channel_id, "role": "member", "version": sequence}
    was_in = {"channel_id": channel_id, "sequence": sequence, "present": True}
    async with database.writing() as connection:
        await connection.execute(insert(channel_members), [{**row, "user_id": each} for each in user_ids])
        await connection.execute(insert(memberships), [{**was_in, "user_id": each} for each in user_ids])


async def tell_all_stored(database: Database) -> None:
    """Have inboxes filled with all that the write side has stored, in the order of its ids and numbers."""
    columns = message_events.c
    query = select(columns.body).order_by(columns.timestamp, columns.event_id)
    async with database.reading() as connection:
        events = [decode_stream_event(body) for body in await connection.scalars(query)]
    async with database.writing() as connection:
        await remember(connection, [event for event in events if isinstance(event, ChannelsEvent)])
    for event in events:
        if isinstance(event, MessagesEvent):
            await Inbox(database, SystemClock()).apply([event])
    announcer = Announcer(database, SystemClock())
    while await announcer.step():
        pass
