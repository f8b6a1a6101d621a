"""The writes to the inbox: what a batch of events changes, in one transaction with what is to be told of it.

Guarantees: `seq` is gapless per user, whoever else writes; rows become visible in the order of `seq`;
a batch that was applied before changes nothing. Messages are locked first, then users, each in one
order, so that two writers never wait for each other in a circle.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.database.tables import (
    channel_members,
    channels,
    inbox,
    inbox_counters,
    notified_messages,
)
from backbone.mailbox import NOTIFICATION
from backbone.outbox import shards_of
from notifier.changes import REASON, Changes, Counter, Stored
from notifier.projection import Audience, Decision, Known, Mentioning, decide
from schemas.events import MessagesEvent, encode
from schemas.notifications import NotificationData

# Below what a statement of either database takes as parameters.
_CHUNK = 1000

_history_decoder: msgspec.json.Decoder[tuple[Mentioning, ...]] = msgspec.json.Decoder(tuple[Mentioning, ...])

_KEEP_KNOWN = (
    update(notified_messages)
    .where(notified_messages.c.message_id == bindparam("of_message"))
    .values(version=bindparam("new_version"), mentions=bindparam("history"), deleted=bindparam("is_deleted"))
)


class Inbox:
    """Every user's inbox, as the events of messages fill it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._shards = 0

    async def apply(self, events: Sequence[MessagesEvent]) -> set[str]:
        """Apply the events, in any order, some of them perhaps again; return the users whose inbox grew.

        Raises Unavailable: then nothing, or everything, was stored, and the batch may be applied again.
        """
        by_message: dict[str, list[MessagesEvent]] = defaultdict(list)
        for event in events:
            by_message[event.payload.message_id].append(event)
        if not by_message:
            return set()
        self._shards = self._shards or await shards_of(self._database, "notifications")
        async with self._database.writing() as connection:
            known = await _lock_messages(connection, sorted(by_message))
            audiences = await _audiences(connection, events)
            stored = await _stored(connection, by_message)
            decisions = {
                message_id: decide(
                    known[message_id],
                    {entry.user_id: not entry.retracted for entry in stored[message_id].values()},
                    of_message,
                    audiences[of_message[0].payload.channel_id],
                )
                for message_id, of_message in by_message.items()
            }
            await _keep_known(connection, known, decisions)
            counters = await _lock_counters(connection, decisions.values())
            changes = Changes(counters, self._clock, self._shards)
            for message_id, decision in decisions.items():
                channel_id = by_message[message_id][0].payload.channel_id
                data = NotificationData(message_id=message_id, channel_id=channel_id)
                _collect(changes, decision, data, stored[message_id], counters)
            grown = await changes.store(connection)
        changes.count()
        return grown


def _collect(
    changes: Changes,
    decision: Decision,
    data: NotificationData,
    stored: Mapping[str, Stored],
    counters: Mapping[str, Counter],
) -> None:
    for user_id in decision.retract:
        if decision.even_read or stored[user_id].seq > counters[user_id].read_up_to:
            changes.retract(stored[user_id], data)
    for new in decision.notify:
        changes.notify(new.user_id, data, new.content, new.retracted)


async def _lock_messages(connection: AsyncConnection, message_ids: Sequence[str]) -> dict[str, Known]:
    """Lock what is known of the messages: their events may lie with several members of the group."""
    table = notified_messages
    new = [{"message_id": each, "version": 0, "mentions": "[]", "deleted": False} for each in message_ids]
    await _insert_missing(connection, table, new)
    rows = await _lock(connection, table, message_ids)
    return {row.message_id: Known(_history_decoder.decode(row.mentions), row.deleted) for row in rows}


async def _keep_known(
    connection: AsyncConnection, before: Mapping[str, Known], decisions: Mapping[str, Decision]
) -> None:
    changed = [
        {
            "of_message": message_id,
            "new_version": decision.known.version,
            "history": encode(decision.known.history).decode(),
            "is_deleted": decision.known.deleted,
        }
        for message_id, decision in decisions.items()
        if decision.known != before[message_id]
    ]
    if changed:
        await connection.execute(_KEEP_KNOWN, changed)


async def _audiences(connection: AsyncConnection, events: Iterable[MessagesEvent]) -> dict[str, Audience]:
    """Return who may be told of each channel: its members now, and whether there are others."""
    private = {event.payload.channel_id: event.private for event in events}
    unknown = [channel_id for channel_id, is_private in private.items() if is_private is msgspec.UNSET]
    for ids in _chunks(unknown):
        query = select(channels.c.channel_id, channels.c.private).where(channels.c.channel_id.in_(ids))
        private.update((row.channel_id, row.private) for row in await connection.execute(query))
    members: dict[str, set[str]] = defaultdict(set)
    for ids in _chunks(list(private)):
        of_channels = select(channel_members.c.channel_id, channel_members.c.user_id).where(
            channel_members.c.channel_id.in_(ids)
        )
        for row in await connection.execute(of_channels):
            members[row.channel_id].add(row.user_id)
    return {each: Audience(is_private is True, members[each]) for each, is_private in private.items()}


async def _stored(
    connection: AsyncConnection, message_ids: Iterable[str]
) -> defaultdict[str, dict[str, Stored]]:
    """Return the notifications of the messages, by message and user."""
    found: defaultdict[str, dict[str, Stored]] = defaultdict(dict)
    columns = inbox.c
    for ids in _chunks(list(message_ids)):
        query = select(
            columns.message_id,
            columns.user_id,
            columns.seq,
            columns.notification_id,
            columns.created_at,
            columns.retracted,
        ).where(columns.message_id.in_(ids), columns.reason == REASON, columns.kind == NOTIFICATION)
        for message_id, user_id, *rest in await connection.execute(query):
            found[message_id][user_id] = Stored(user_id, *rest)
    return found


async def _lock_counters(connection: AsyncConnection, decisions: Iterable[Decision]) -> dict[str, Counter]:
    """Lock the counters of all users whose inbox may grow, making those that are missing."""
    users = set[str]()
    for decision in decisions:
        users.update(decision.retract, (new.user_id for new in decision.notify))
    if not users:
        return {}
    new = [{"user_id": each, "epoch": 1, "last_seq": 0, "read_up_to": 0} for each in sorted(users)]
    await _insert_missing(connection, inbox_counters, new)
    rows = await _lock(connection, inbox_counters, sorted(users))
    return {row.user_id: Counter(row.last_seq, row.read_up_to) for row in rows}


async def _insert_missing(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose keys are not there; `rows` are sorted by key."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    await connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


async def _lock(connection: AsyncConnection, table: Table, keys: Sequence[str]) -> list[Any]:
    """Lock the rows of `keys`, which are sorted, in the order of their code points."""
    (key,) = table.primary_key.columns
    # On SQLite the transaction is the only writer already, and this order is the only one.
    order = key.collate("C") if connection.dialect.name == "postgresql" else key
    rows: list[Any] = []
    for chunk in _chunks(keys):
        query = select(table).where(key.in_(chunk)).order_by(order).with_for_update()
        rows.extend(await connection.execute(query))
    return rows


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))
