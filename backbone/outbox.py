"""The outbox: events stored with what they changed, in one transaction, until the log has them.

A lane is drained by one kind of process (the backend's, the notifier's). It is cut into shards by the
hash of the ordering key; the rows of a shard are told in the order of `position`. A row tells an event,
or, without a body, the tombstone of a message's state.
"""

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import select

from backbone.database.engine import Database
from backbone.database.tables import outbox_lanes
from schemas.events import Event, encode, event_type
from schemas.topics import MESSAGES_STATE, TOPIC_OF_EVENT, partition_of

Lane = Literal["messages", "notifications"]
TOMBSTONE = "tombstone"
"""What stands for the type of the event in a row that tells none."""


async def shards_of(database: Database, lane: Lane) -> int:
    """Return into how many shards the lane is cut, which the migrations fixed. Raises Unavailable."""
    query = select(outbox_lanes.c.shards).where(outbox_lanes.c.lane == lane)
    async with database.looking() as connection:
        return int((await connection.execute(query)).scalar_one())


def outbox_row(
    lane: Lane, shards: int, ordering_key: str, event: Event, body: str | None = None
) -> Mapping[str, Any]:
    """Return the row that tells `event`; `body` is its JSON where that is at hand already."""
    kind = event_type(event)
    return {
        "lane": lane,
        "shard": partition_of(ordering_key, shards),
        "ordering_key": ordering_key,
        "topic": TOPIC_OF_EVENT[kind].name,
        "event_type": kind,
        "body": encode(event).decode() if body is None else body,
        "created_at": event.timestamp,
    }


def tombstone_row(shards: int, channel_id: str, message_id: str, now_ms: int) -> Mapping[str, Any]:
    """Return the row that takes a message out of the state topic."""
    return {
        "lane": "messages",
        "shard": partition_of(channel_id, shards),
        "ordering_key": channel_id,
        "topic": MESSAGES_STATE.name,
        "event_type": TOMBSTONE,
        "body": None,
        "created_at": now_ms,
        "record_key": message_id,
    }
