"""Bringing the side up to the live tables: what the log has by now, and what it has yet to be told."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.tables import outbox
from backbone.eventlog import Reader, TopicPartition
from rebuilder.database.folding import fold
from rebuilder.database.loading import load, missing
from rebuilder.database.rows import Chunk
from rebuilder.database.side import Side
from rebuilder.database.storing import store
from rebuilder.patience import patiently
from schemas.events import UserChannelLevelSet, UserDoNotDisturbSet, UserInboxRead, decode
from schemas.topics import USERS_CHANGED

_ROWS_AT_ONCE = 1_000


async def catch_up(live: AsyncConnection, side: Side, reader: Reader, records: list[int]) -> int:
    """Bring in all that was written before; return how many offsets were read.

    The order is what makes it whole: what has left the outbox when that is looked at is in the log before
    its ends are asked for. Raises as `load` does.
    """
    wishes = await _bring_untold(live, side)
    ends: Mapping[TopicPartition, int] = await patiently(lambda: reader.end_offsets(undecided=True))
    behind = missing(reader, ends)
    records.append(await load(side, reader, ends, lambda _offsets: None))
    # Of preferences the last one counts: what the log has yet to be told comes after what it has.
    await store(side, wishes, {})
    await fold(side, lambda _folded: None)
    return behind


async def _bring_untold(live: AsyncConnection, side: Side) -> Chunk:
    """Store what the outbox holds of channels, page by page; return what it holds of preferences."""
    wishes = Chunk(bulk=False)
    after = 0
    while True:
        query = (
            select(outbox.c.position, outbox.c.topic, outbox.c.body)
            .where(outbox.c.body.is_not(None), outbox.c.position > after)
            .order_by(outbox.c.position)
            .limit(_ROWS_AT_ONCE)
        )
        rows = (await live.execute(query)).all()
        if not rows:
            return wishes
        chunk = Chunk(bulk=False)
        for row in rows:
            _take(wishes if row.topic == USERS_CHANGED.name else chunk, row.topic, row.body)
        await store(side, chunk, {})
        after = rows[-1].position


def _take(chunk: Chunk, topic: str, body: str) -> None:
    event = decode(body)
    if topic == USERS_CHANGED.name:
        if isinstance(event, UserChannelLevelSet | UserDoNotDisturbSet | UserInboxRead):
            chunk.wishes.append(event)
    elif hasattr(event, "sequence"):
        chunk.add(event, body)  # type: ignore[arg-type]
