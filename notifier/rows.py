"""The rows that writers of inboxes share: what is known of messages, what users have, their counters.

Messages are locked first, then users, each in the order of their code points, so that two writers never
wait for each other in a circle.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.missing import insert_missing
from backbone.database.rows import RowsStatement
from backbone.database.tables import inbox, inbox_counters, notified_messages
from backbone.mailbox import NOTIFICATION
from notifier.changes import Counter, Stored
from notifier.projection import Decision, Known, Mentioning, Told
from schemas.events import encode

# Below what a statement of either database takes as parameters.
_CHUNK = 1000

# How many notifications of one message are written in one transaction: others wait for it.
AT_ONCE = 500

_history_decoder: msgspec.json.Decoder[tuple[Mentioning, ...]] = msgspec.json.Decoder(tuple[Mentioning, ...])

_TOLD = RowsStatement(
    (inbox.c.user_id, inbox.c.message_id, inbox.c.reason),
    "SELECT i.user_id, i.message_id, i.reason FROM {given} JOIN inbox i ON i.user_id = given.user_id"
    f" AND i.message_id = given.message_id AND i.reason = given.reason AND i.kind = '{NOTIFICATION}'",
)
_KEEP_KNOWN = (
    update(notified_messages)
    .where(notified_messages.c.message_id == bindparam("of_message"))
    .values(version=bindparam("new_version"), mentions=bindparam("history"), deleted=bindparam("is_deleted"))
)


async def lock_messages(connection: AsyncConnection, message_ids: Sequence[str]) -> dict[str, Known]:
    """Lock what is known of the messages: their events may lie with several members of the group."""
    table = notified_messages
    new = [{"message_id": each, "version": 0, "mentions": "[]", "deleted": False} for each in message_ids]
    await insert_missing(connection, table, new)
    rows = await _lock(connection, table, message_ids)
    return {row.message_id: Known(_history_decoder.decode(row.mentions), row.deleted) for row in rows}


async def keep_known(
    connection: AsyncConnection, before: Mapping[str, Known], decisions: Mapping[str, Decision]
) -> None:
    """Store what is known of messages that are locked, where that has changed."""
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


async def told_of(
    connection: AsyncConnection, concerned: Iterable[tuple[str, Told]]
) -> defaultdict[str, set[Told]]:
    """Return who of those concerned, each by a message, has a notification of it."""
    found: defaultdict[str, set[Told]] = defaultdict(set)
    if rows := sorted((user_id, message_id, reason) for message_id, (user_id, reason) in concerned):
        for user_id, message_id, reason in await _TOLD.execute(connection, rows):
            found[message_id].add(Told(user_id, reason))
    return found


async def standing_of(
    connection: AsyncConnection, message_id: str, after: str = "", limit: int = AT_ONCE
) -> list[Stored]:
    """Return at most `limit` notifications of a message that stand, of users behind `after`."""
    columns = inbox.c
    query = (
        select(*(columns[field] for field in Stored.__slots__))
        .where(
            columns.message_id == message_id,
            columns.kind == NOTIFICATION,
            ~columns.retracted,
            columns.user_id > after,
        )
        .order_by(columns.user_id, columns.reason)
        .limit(limit)
    )
    return [Stored(*row) for row in await connection.execute(query)]


async def lock_counters(connection: AsyncConnection, users: Iterable[str]) -> dict[str, Counter]:
    """Lock the counters of users whose inbox may grow, making those that are missing."""
    in_order = sorted(set(users))
    if not in_order:
        return {}
    new = [{"user_id": each, "epoch": 1, "last_seq": 0, "read_up_to": 0} for each in in_order]
    await insert_missing(connection, inbox_counters, new)
    rows = await _lock(connection, inbox_counters, in_order)
    return {row.user_id: Counter(row.last_seq, row.read_up_to) for row in rows}


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
