"""History that the record lacks, because a channel was rebuilt from states: asked for, it is refused."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.tables import missing_history
from backend.domain.rejections import Conflict


async def require_recorded(connection: AsyncConnection, channel_id: str, after: int) -> None:
    """Raise Conflict unless the record holds the channel's events after `after`.

    To be asked once it is known that the reader may see the channel.
    """
    lacks = missing_history.c
    query = select(lacks.up_to).where(lacks.channel_id == channel_id, lacks.up_to > after)
    up_to = await connection.scalar(query)
    if up_to is not None:
        raise Conflict(
            f"the history up to event {up_to} is missing: the database was rebuilt from states;"
            " `maeari rebuild database --from events` restores it"
        )
