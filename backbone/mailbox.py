"""One user's inbox as sockets and routes read it: where it stands, what lies where in it, what was read.

Guarantees: the text of a message that is deleted, or stands in a channel that the user may not read any
more, is never shown, whatever the notifier has yet to hear: its notification keeps its number and is shown
as one that was retracted. Where the database knows nothing of the channel or the message, as with an inbox
that was filled from the log alone, the notification is shown as it was written.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import UNSET
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    Text,
    bindparam,
    case,
    column,
    false,
    func,
    null,
    select,
    true,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.access import readable
from backbone.clock import Clock
from backbone.database.bounded import fitting, read_page
from backbone.database.engine import Database
from backbone.database.tables import channel_members, channels, inbox, inbox_counters, messages
from backbone.outbox import shards_of
from backbone.preferences import tell
from schemas.clock import format_ms
from schemas.events import UserInboxRead
from schemas.frames import NotificationFrame, Retracted
from schemas.notifications import Notification, NotificationData, NumberedNotification
from schemas.preferences import InboxMark

EntryFrame = NotificationFrame | Retracted

# The kinds of entries.
NOTIFICATION, RETRACTED = "notification", "retracted"


# The user's membership of the notification's channel: not there for those outside.
_member = channel_members.alias("member")
# NULL where there is no such channel or message: nothing is known against it then.
_LOST = func.coalesce(~readable(channels.c.private, _member.c.role), false())
_WITHDRAWN: ColumnElement[bool] = inbox.c.retracted | _LOST | messages.c.deleted_at.is_not(None)
_TITLE, _BODY = (
    case((_WITHDRAWN, null()), else_=text).label(text.key) for text in (inbox.c.title, inbox.c.body)
)
_ENTRY = (
    *(column for column in inbox.c if column.key not in ("title", "body", "retracted")),
    _TITLE,
    _BODY,
    _WITHDRAWN.label("retracted"),
)
_OLDEST_FIRST = fitting(_ENTRY, (_BODY,), inbox.c.seq)
_NEWEST_FIRST = fitting(_ENTRY, (_BODY,), inbox.c.seq.desc())


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an inbox stands: the last number given and the last one read, 0 for none."""

    epoch: int = 1
    latest_seq: int = 0
    read_up_to: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an inbox to read: oldest first after a number, or newest first before one, or from the end."""

    after: int | None = None
    before: int | None = None


class Asked(NamedTuple):
    """Whose inbox is asked for, and behind which number."""

    user_id: str
    seq: int


class News(NamedTuple):
    """Where an inbox stands, and what follows the number that was asked for, or the first of that."""

    standing: Standing
    entries: list[EntryFrame]


class Mailbox:
    """Reads inboxes, and marks them as read. Every method raises Unavailable."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._shards = 0

    async def standing(self, user_id: str) -> Standing:
        """Return where the inbox of the user stands."""
        async with self._database.reading() as connection:
            return await _standing(connection, user_id)

    async def after(self, asked: Collection[Asked], limit: int) -> Mapping[Asked, News]:
        """Return where each inbox stands, and at most `limit` entries after the number, in order, no gap."""
        users, seqs = [each.user_id for each in asked], [each.seq for each in asked]
        async with self._database.reading() as connection:
            counters = inbox_counters.c
            where = select(counters.user_id, counters.epoch, counters.last_seq, counters.read_up_to)
            standings = {
                row.user_id: Standing(row.epoch, row.last_seq, row.read_up_to)
                for row in await connection.execute(where.where(counters.user_id.in_(set(users))))
            }
            found = {each: News(standings.get(each.user_id, Standing()), []) for each in asked}
            if connection.dialect.name == "postgresql":
                rows = await connection.execute(
                    _AFTER_POSTGRES, {"users": users, "seqs": seqs, "most": limit}
                )
            else:
                given = json.dumps([list(each) for each in asked])
                rows = await connection.execute(_AFTER_SQLITE, {"asked": given, "most": limit})
            for row in rows.mappings():
                found[Asked(row["asked_user"], row["asked_seq"])].entries.append(_frame(row))
        return found

    async def page(
        self, user_id: str, place: Place, limit: int, *, unread: bool = False
    ) -> tuple[list[NumberedNotification], bool]:
        """Return at most `limit` notifications from `place` on, fewer where they are large; and whether
        there are more. `unread` ones are neither read nor retracted.

        Retractions are no entries of their own here: they show on the notification that they took back.
        """
        columns = inbox.c
        if place.after is not None:
            query = _entries(user_id, _OLDEST_FIRST).where(columns.seq > place.after).order_by(columns.seq)
        else:
            older = true() if place.before is None else columns.seq < place.before
            query = _entries(user_id, _NEWEST_FIRST).where(older).order_by(columns.seq.desc())
        query = query.where(columns.kind == NOTIFICATION)
        if unread:
            read_up_to = select(inbox_counters.c.read_up_to).where(inbox_counters.c.user_id == user_id)
            query = query.where(
                columns.seq > func.coalesce(read_up_to.scalar_subquery(), 0),
                columns.read_at.is_(None),
                ~_WITHDRAWN,
            )
        async with self._database.reading() as connection:
            rows, more = await read_page(connection, query, limit)
        return [NumberedNotification(seq=row["seq"], **_fields(row)) for row in rows], more

    async def withdrawn(self, entries: Collection[tuple[str, int]]) -> set[str]:
        """Return the ids of the notifications of these users and numbers whose text must not be shown now."""
        if not entries:
            return set()
        place = tuple_(inbox.c.user_id, inbox.c.seq).in_(list(entries))
        query = _every_entry((inbox.c.notification_id,)).where(place, _WITHDRAWN)
        async with self._database.reading() as connection:
            return set(await connection.scalars(query))

    async def mark_read(self, user_id: str, up_to: int) -> int:
        """Mark everything up to `up_to` as read; return up to where it now is.

        A mark never goes back, nor beyond what the inbox holds: what comes later is unread.
        """
        self._shards = self._shards or await shards_of(self._database, "notifications")
        async with self._database.writing() as connection:
            standing = await _standing(connection, user_id, lock=True)
            read_up_to = min(up_to, standing.latest_seq)
            if read_up_to <= standing.read_up_to:
                return standing.read_up_to
            counter = update(inbox_counters).where(inbox_counters.c.user_id == user_id)
            await connection.execute(counter.values(read_up_to=read_up_to))
            newly_read = update(inbox).where(
                inbox.c.user_id == user_id,
                inbox.c.seq.between(standing.read_up_to + 1, read_up_to),
                inbox.c.read_at.is_(None),
            )
            now_ms = self._clock.now_ms()
            await connection.execute(newly_read.values(read_at=now_ms))
            read = UserInboxRead(
                event_id=self._clock.new_id("evt_"),
                timestamp=now_ms,
                payload=InboxMark(user_id=user_id, up_to=read_up_to),
            )
            await tell(connection, self._shards, user_id, read)
            return read_up_to


def _after(user_id: ColumnElement[str], seq: ColumnElement[int], given: FromClause) -> Select[Any]:
    """Return the query of entries behind many numbers: a number and those that follow it have no gap."""
    columns: tuple[ColumnElement[Any], ...] = (user_id.label("asked_user"), seq.label("asked_seq"), *_ENTRY)
    behind = (inbox.c.seq > seq) & (inbox.c.seq <= seq + bindparam("most", type_=BigInteger))
    source = given.join(inbox, (inbox.c.user_id == user_id) & behind)
    return select(*columns).select_from(_with_rights(source)).order_by(inbox.c.user_id, inbox.c.seq)


def _after_on_postgres() -> Select[Any]:
    lists = bindparam("users", type_=ARRAY(Text)), bindparam("seqs", type_=ARRAY(BigInteger))
    given = func.unnest(*lists).table_valued(column("user_id", Text), column("seq", BigInteger))
    asked = given.render_derived(name="asked")
    return _after(asked.c.user_id, asked.c.seq, asked)


def _after_on_sqlite() -> Select[Any]:
    asked = func.json_each(bindparam("asked", type_=Text)).table_valued("value", name="asked")
    user_id, seq = (func.json_extract(asked.c.value, f"$[{place}]") for place in range(2))
    return _after(type_coerce(user_id, Text), type_coerce(seq, BigInteger), asked)


def _entries(user_id: str, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Return the query of a user's entries, as the user may see them now."""
    return _every_entry(columns).where(inbox.c.user_id == user_id)


def _every_entry(columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    return select(*columns).select_from(_with_rights(inbox))


def _with_rights(entries: FromClause) -> FromClause:
    """Join entries with what says whether their users may still see them."""
    member = (_member.c.channel_id == inbox.c.channel_id) & (_member.c.user_id == inbox.c.user_id)
    return (
        entries.outerjoin(channels, channels.c.channel_id == inbox.c.channel_id)
        .outerjoin(_member, member)
        .outerjoin(messages, messages.c.message_id == inbox.c.message_id)
    )


async def _standing(connection: AsyncConnection, user_id: str, *, lock: bool = False) -> Standing:
    columns = inbox_counters.c
    query = select(columns.epoch, columns.last_seq, columns.read_up_to).where(columns.user_id == user_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return Standing(*row) if row else Standing()


def _frame(row: RowMapping) -> EntryFrame:
    if row["kind"] != NOTIFICATION:
        return Retracted(seq=row["seq"], notification_id=row["notification_id"])
    return NotificationFrame(seq=row["seq"], notification=Notification(**_fields(row)))


def _fields(row: RowMapping) -> dict[str, Any]:
    """Return what a notification is made of."""
    return {
        "notification_id": row["notification_id"],
        "user_id": row["user_id"],
        "reason": row["reason"],
        "title": row["title"],
        "body": row["body"],
        "data": NotificationData(message_id=row["message_id"], channel_id=row["channel_id"]),
        "created_at": format_ms(row["created_at"]),
        "read_at": None if row["read_at"] is None else format_ms(row["read_at"]),
        "muted": row["muted"],
        "retracted": True if row["retracted"] else UNSET,
    }


_AFTER_POSTGRES, _AFTER_SQLITE = _after_on_postgres(), _after_on_sqlite()
