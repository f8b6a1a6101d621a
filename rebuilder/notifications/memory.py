"""What the notifier knows, brought back from the rehearsal: memberships, threads, versions of messages.

Guarantees: what the live notifier has learned since is never taken back; a row of the log's that differs is
put right. Rows are written page by page, in the order in which notifiers lock them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, Table, select, tuple_

from backbone.database.engine import Database
from backbone.database.rows import RowsStatement, insert_rows
from backbone.database.tables import followed_partitions, memberships, notified_messages, thread_authors
from backbone.progress import Progress
from rebuilder.database.side import Side
from rebuilder.database.tables import offsets
from rebuilder.patience import patiently
from schemas.topics import CHANNELS_CHANGED

PAGE_ROWS = 2_000


def _put(table: Table, condition: str) -> RowsStatement:
    """Insert rows; those that are there are changed where the condition holds."""
    names = ", ".join(table.c.keys())
    key = ", ".join(column.name for column in table.primary_key.columns)
    others = ", ".join(f"{c.name} = excluded.{c.name}" for c in table.c if not c.primary_key)
    return RowsStatement(
        tuple(table.c),
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {{given}} WHERE true ORDER BY row_number"
        f" ON CONFLICT ({key}) DO UPDATE SET {others} WHERE {condition}",
    )


# All that is in the log before a version of a message has been rehearsed with that version.
_PUT = {
    memberships: _put(memberships, "memberships.present <> excluded.present"),
    thread_authors: _put(thread_authors, "thread_authors.user_id <> excluded.user_id"),
    notified_messages: _put(
        notified_messages,
        "excluded.version >= notified_messages.version AND (excluded.mentions <> notified_messages.mentions"
        " OR excluded.deleted <> notified_messages.deleted OR excluded.version <> notified_messages.version)",
    ),
}
_followed = followed_partitions.c
_ADVANCE = insert_rows(
    followed_partitions,
    (_followed.topic, _followed.partition, _followed.position),
    rising=(_followed.position,),
)


async def bring_back(live: Database, side: Side, late: Collection[str], progress: Progress) -> None:
    """Write what was rehearsed into the live tables, as far as it is not there. Raises Unavailable.

    Of messages that the live notifier is `late` with it is left out: that would pass over what it has yet to
    apply.
    """
    followed = select(offsets).where(offsets.c.topic == CHANNELS_CHANGED.name, offsets.c.position > 0)
    async with side.database.looking() as connection:
        positions = [tuple(row) for row in await connection.execute(followed)]
    for table, statement in _PUT.items():
        progress.step(f"bring back {table.name}")
        pages = _Pages(side, table)
        while rows := await pages.next():
            known = [row for row in rows if table is not notified_messages or row[0] not in late]
            if known:
                await patiently(partial(_write, live, statement, sorted(known)))
            progress.advance(len(rows))
    if positions:
        # Only now: what lies before them is there.
        await patiently(partial(_write, live, _ADVANCE, sorted(positions)))


async def _write(live: Database, statement: RowsStatement, rows: Sequence[Sequence[Any]]) -> None:
    async with live.writing() as connection:
        await statement.execute(connection, rows)


@dataclass
class _Pages:
    """The rows of a side table, page by page, in the order of its key."""

    side: Side
    table: Table
    after: tuple[Any, ...] | None = None

    async def next(self) -> list[tuple[Any, ...]]:
        key: list[Column[Any]] = list(self.table.primary_key.columns)
        query = select(self.table).order_by(*key).limit(PAGE_ROWS)
        if self.after is not None:
            query = query.where(tuple_(*key) > tuple_(*self.after))
        async with self.side.database.looking() as connection:
            rows = (await connection.execute(query)).all()
        if rows:
            self.after = tuple(rows[-1]._mapping[column.name] for column in key)
        return [tuple(row) for row in rows]
