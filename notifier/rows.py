"""The rows that writers of inboxes share: what is known of messages, what users have, their counters.

Messages are locked first, then users, each in the order of their code points, so that two writers never
wait for each other in a circle.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.rows import RowsStatement
from backbone.database.tables import inbox, notified_messages
from backbone.mailbox import NOTIFICATION
from backbone.preferences import LOCK_COUNTERS
from notifier.changes import Counter, Stored
from notifier.projection import Decision, Known, Mentioning, Told
from schemas.events import encode

# How many notifications of one message are written in one transaction: others wait for it.
AT_ONCE = 500

_history_decoder: msgspec.json.Decoder[tuple[Mentioning, ...]] = msgspec.json.Decoder(tuple[Mentioning, ...])

_TOLD = RowsStatement(
    (inbox.c.user_id, inbox.c.message_id, inbox.c.reason),
    "SELECT i.user_id, i.message_id, i.reason FROM {given} JOIN inbox i ON i.user_id = given.user_id"
    f" AND i.message_id = given.message_id AND i.reason = given.reason AND i.kind = '{NOTIFICATION}'",
)
_known = notified_messages.c
_KEEP_KNOWN = RowsStatement(
    (_known.message_id, _known.version, _known.mentions, _known.deleted),
    "UPDATE notified_messages SET version = given.version, mentions = given.mentions, deleted = given.deleted"
    " FROM {given} WHERE notified_messages.message_id = given.message_id",
)
# Makes the rows that are missing and locks all, in the order given: even an update of nothing locks.
_LOCK_MESSAGES = RowsStatement(
    (_known.message_id,),
    "INSERT INTO notified_messages (message_id, version, mentions, deleted)"
    " SELECT message_id, 0, '[]', false FROM {given} WHERE true ORDER BY row_number"
    " ON CONFLICT (message_id) DO UPDATE SET version = notified_messages.version"
    " RETURNING message_id, mentions, deleted",
)


async def lock_messages(connection: AsyncConnection, message_ids: Sequence[str]) -> dict[str, Known]:
    """Lock what is known of the messages: their events may lie with several members of the group."""
    rows = await _LOCK_MESSAGES.execute(connection, [(each,) for each in message_ids])
    return {row.message_id: Known(_history_decoder.decode(row.mentions), bool(row.deleted)) for row in rows}


async def keep_known(
    connection: AsyncConnection, before: Mapping[str, Known], decisions: Mapping[str, Decision]
) -> None:
    """Store what is known of messages that are locked, where that has changed."""
    changed = []
    for message_id, decision in decisions.items():
        known = decision.known
        if known != before[message_id]:
            changed.append((message_id, known.version, encode(known.history).decode(), known.deleted))
    if changed:
        await _KEEP_KNOWN.execute(connection, changed)


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
    rows = await LOCK_COUNTERS.execute(connection, [(each,) for each in in_order])
    return {row.user_id: Counter(row.last_seq, row.read_up_to) for row in rows}
