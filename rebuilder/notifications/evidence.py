"""What users were sent, and have read, as the log tells it: kept in the side tables, and asked by user."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.missing import insert_missing
from backbone.database.rows import insert_rows
from backbone.database.tables import inbox, inbox_counters
from backbone.mailbox import NOTIFICATION, RETRACTED
from rebuilder.notifications.inboxes import Counter, Entry
from rebuilder.notifications.tables import marks, sent
from schemas.events import NotificationRetracted, NotificationSent, UserInboxRead

# A row is dated when its event is.
_PUT_SENT = insert_rows(sent, tuple(sent.c), changing=[sent.c.told_at])
_ENTRY = tuple(inbox.c[name] for name in Entry.__slots__)


async def keep_sent(
    connection: AsyncConnection, events: Iterable[NotificationSent | NotificationRetracted]
) -> None:
    """Keep what was sent."""
    rows = {}
    for event in events:
        of = event.payload
        kind = NOTIFICATION if isinstance(event, NotificationSent) else RETRACTED
        key = (of.user_id, event.seq, kind, of.notification_id)
        about = (of.data.message_id, of.data.channel_id, of.reason, of.title, of.body, event.timestamp)
        rows[key] = (*key, *about, of.retracted is True, of.muted, event.timestamp)
    if rows:
        await _PUT_SENT.execute(connection, [rows[key] for key in sorted(rows)])


async def keep_marks(connection: AsyncConnection, events: Iterable[UserInboxRead]) -> None:
    """Keep up to where users have read; a mark that names an epoch begins it."""
    for event in events:
        user_id, epoch = event.payload.user_id, event.payload.epoch
        new = {"user_id": user_id, "epoch": 1, "began_at": 0, "up_to": 0, "marked_at": 0}
        await insert_missing(connection, marks, [new])
        this = update(marks).where(marks.c.user_id == user_id)
        values = {"up_to": event.payload.up_to, "marked_at": event.timestamp}
        if epoch is None:
            await connection.execute(this.where(marks.c.up_to < event.payload.up_to).values(**values))
        else:
            began = {"epoch": epoch, "began_at": event.timestamp}
            await connection.execute(this.where(marks.c.epoch < epoch).values(**values, **began))


async def counters_of(
    live: AsyncConnection, side: AsyncConnection, users: Collection[str]
) -> Mapping[str, tuple[Counter, int | None]]:
    """Return where inboxes stand, and since when what was sent has their numbers, None where nobody knows.

    Where a counter is lost the log's marks tell it, as far as they do.
    """
    columns = inbox_counters.c
    query = select(columns.user_id, columns.epoch, columns.last_seq, columns.read_up_to)
    there = {row.user_id: row for row in await live.execute(query.where(columns.user_id.in_(users)))}
    marked = {row.user_id: row for row in await side.execute(select(marks).where(marks.c.user_id.in_(users)))}
    found: dict[str, tuple[Counter, int | None]] = {}
    for user_id in users:
        row, mark = there.get(user_id), marked.get(user_id)
        epoch, began_at = (1, 0) if mark is None else (mark.epoch, mark.began_at)
        read_at = None if mark is None else mark.marked_at
        if row is not None:
            same = row.epoch == epoch
            counter = Counter(row.epoch, row.last_seq, row.read_up_to, read_at if same else None)
            found[user_id] = counter, began_at if same else None
        else:
            read_up_to = 0 if mark is None else mark.up_to
            found[user_id] = Counter(epoch, 0, read_up_to, read_at), began_at
    return found


async def rows_of(connection: AsyncConnection, users: Collection[str]) -> Mapping[str, list[Entry]]:
    """Return the rows of inboxes, in order."""
    found: defaultdict[str, list[Entry]] = defaultdict(list)
    query = select(*_ENTRY).where(inbox.c.user_id.in_(users)).order_by(inbox.c.user_id, inbox.c.seq)
    for row in await connection.execute(query):
        found[row.user_id].append(Entry(*row))
    return found


async def sent_of(side: AsyncConnection, began: Mapping[str, int | None]) -> Mapping[str, list[Entry]]:
    """Return what users were sent since their numbers began, as rows: of each number what was told last."""
    by_number: dict[tuple[str, int], Entry] = {}
    query = select(sent).where(sent.c.user_id.in_(began)).order_by(sent.c.user_id, sent.c.seq, sent.c.told_at)
    for row in (await side.execute(query)).mappings():
        since = began[row["user_id"]]
        if since is not None and row["told_at"] >= since:
            by_number[row["user_id"], row["seq"]] = _entry({**row})
    found: defaultdict[str, list[Entry]] = defaultdict(list)
    for (user_id, _), entry in by_number.items():
        found[user_id].append(entry)
    return found


def _entry(row: Mapping[str, Any]) -> Entry:
    fields = {name: row[name] for name in Entry.__slots__ if name not in ("read_at", "muted_by")}
    return Entry(**fields, read_at=None, muted_by=None)
