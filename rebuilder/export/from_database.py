"""A channel's messages out of the database: as they are, or as the record says that they were.

Guarantees: in memory is a page, of about a megabyte where it is of the present, of some dozen messages where
it is of the past. Pages are read one after the other: what is written meanwhile may be seen, or not.
"""

from collections.abc import AsyncGenerator, Sequence

from sqlalchemy import RowMapping, func, select, true

from backbone.database.bounded import fitting, read_page
from backbone.database.engine import Database
from backbone.database.tables import channels, message_events, messages, missing_history
from backbone.progress import Progress
from backend.domain.evolve import evolve_message
from backend.domain.state import MessageRecord, former
from backend.rows import MESSAGE_COLUMNS, message_from_row
from rebuilder.export.refusals import Refused, no_such_channel, not_yet
from rebuilder.patience import patiently
from schemas.events import decode_message_event
from schemas.messages import FormerMessage

_PAGE = 200
_PAGE_OF_THE_PAST = 50

_message, _event = messages.c, message_events.c
_COLUMNS = fitting(
    MESSAGE_COLUMNS, (_message.content, _message.mentions, _message.attachments), _message.sequence
)


async def messages_of_database(
    database: Database, channel_id: str, until_ms: int | None, progress: Progress
) -> AsyncGenerator[FormerMessage, None]:
    """Yield the messages in the order of `sequence`. Raises Refused, Unavailable or SetupError."""
    progress.step("export", await patiently(lambda: _count(database, channel_id, until_ms)))
    after = 0
    while True:
        if until_ms is None:
            found = await patiently(lambda: _page(database, channel_id, after))  # noqa: B023 - awaited here
        else:
            found = await patiently(lambda: _past_page(database, channel_id, after, until_ms))  # noqa: B023
        for record in found:
            yield former(record)
        if not found:
            return
        after = found[-1].message.sequence
        progress.advance(len(found))


async def _count(database: Database, channel_id: str, until_ms: int | None) -> int:
    """Return how many messages there are. Raises Refused where there is no such channel, or no past."""
    lacks = missing_history.c
    async with database.looking() as connection:
        made = select(channels.c.created_at).where(channels.c.channel_id == channel_id)
        made_ms = await connection.scalar(made)
        if made_ms is None:
            raise no_such_channel(channel_id, "the database")
        if until_ms is not None:
            if made_ms > until_ms:
                raise not_yet(channel_id, until_ms, made_ms)
            up_to = await connection.scalar(select(lacks.up_to).where(lacks.channel_id == channel_id))
            if up_to is not None:
                raise Refused(
                    f"channel {channel_id!r}: its history up to event {up_to:,} is missing, the database was"
                    " rebuilt from states: --from events, or --from archive, has it"
                )
        there = true() if until_ms is None else _message.created_at <= until_ms
        query = select(func.count()).select_from(messages).where(_message.channel_id == channel_id, there)
        return int(await connection.scalar(query) or 0)


async def _page(database: Database, channel_id: str, after: int) -> Sequence[MessageRecord]:
    query = (
        select(*_COLUMNS)
        .where(_message.channel_id == channel_id, _message.sequence > after)
        .order_by(_message.sequence)
    )
    async with database.looking() as connection:
        rows, _ = await read_page(connection, query, _PAGE)
    return [message_from_row(row) for row in rows]


async def _past_page(
    database: Database, channel_id: str, after: int, until_ms: int
) -> Sequence[MessageRecord]:
    page = (
        select(_message.message_id, _message.sequence)
        .where(_message.channel_id == channel_id, _message.sequence > after, _message.created_at <= until_ms)
        .order_by(_message.sequence)
        .limit(_PAGE_OF_THE_PAST)
        .subquery()
    )
    # Each event carries the whole message, but for a deletion: that needs the one before.
    from_last = func.row_number().over(partition_by=_event.message_id, order_by=_event.sequence.desc())
    events = (
        select(page.c.sequence, _event.sequence.label("version"), _event.body, from_last.label("from_last"))
        .join(page, page.c.message_id == _event.message_id)
        .where(_event.timestamp <= until_ms)
        .subquery()
    )
    query = select(events).where(events.c.from_last <= 2).order_by(events.c.sequence, events.c.version)
    async with database.looking() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return _folded(rows)


def _folded(rows: Sequence[RowMapping]) -> Sequence[MessageRecord]:
    records: dict[int, MessageRecord] = {}
    for row in rows:
        known = records.get(row["sequence"])
        records[row["sequence"]] = evolve_message(known, decode_message_event(row["body"]))
    return list(records.values())
