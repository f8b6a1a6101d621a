"""Following `channels.changed` to its end, before messages are told that were written behind it.

A message and the changes of its channel lie in different topics: what is read of the one says nothing of
the other. But a channel's events are told in order, so that whatever happened in it before a message is in
the log when the message is, at the latest in the same transaction.

Guarantees: what was followed is stored in one transaction with how far that was; several processes may
follow the same partition, and each starts where the furthest of them got to.
"""

from collections.abc import Collection, Mapping, Sequence

import structlog
from sqlalchemy import select

from backbone.database.engine import Database
from backbone.database.rows import insert_rows
from backbone.database.tables import followed_partitions
from backbone.errors import Poison
from backbone.eventlog import EventLog, Reader, Record, TopicPartition
from backbone.eventlog.events import read_stream_event
from backbone.eventlog.reading import read_to_end
from notifier.memberships import remember
from schemas.events import ChannelsEvent
from schemas.topics import CHANNELS_CHANGED

_columns = followed_partitions.c
_ADVANCE = insert_rows(
    followed_partitions,
    (_columns.topic, _columns.partition, _columns.position),
    rising=(_columns.position,),
)

log = structlog.get_logger()


class Follower:
    """Keeps what the notifier knows of channels at the end of their topic."""

    def __init__(self, eventlog: EventLog, database: Database) -> None:
        self._eventlog = eventlog
        self._database = database
        self._reader: Reader | None = None
        self._partitions: frozenset[int] = frozenset()

    async def catch_up(self, partitions: Collection[int]) -> None:
        """Take in all that these partitions of the topic hold at this moment. Raises Unavailable."""
        try:
            reader = await self._reader_of(partitions)
            async for records in read_to_end(reader, undecided=True):
                await self._store(records, reader.positions())
        except BaseException:
            # Where it stands is told by the database alone.
            await self.close()
            raise

    async def close(self) -> None:
        """Release the reader."""
        reader, self._reader = self._reader, None
        self._partitions = frozenset()
        if reader is not None:
            await reader.close()

    async def _reader_of(self, partitions: Collection[int]) -> Reader:
        """Return a reader of these partitions, and of others that were asked for before."""
        if self._reader is not None and self._partitions.issuperset(partitions):
            return self._reader
        wanted = self._partitions.union(partitions)
        await self.close()
        reader = await self._eventlog.reader([CHANNELS_CHANGED], wanted)
        try:
            stored = await self._positions()
            reader.seek({place: stored.get(place.partition, at) for place, at in reader.positions().items()})
        except BaseException:
            await reader.close()
            raise
        self._reader, self._partitions = reader, wanted
        return reader

    async def _positions(self) -> Mapping[int, int]:
        query = select(_columns.partition, _columns.position).where(_columns.topic == CHANNELS_CHANGED.name)
        async with self._database.looking() as connection:
            return {row.partition: row.position for row in await connection.execute(query)}

    async def _store(self, records: Sequence[Record], positions: Mapping[TopicPartition, int]) -> None:
        events = [event for record in records if (event := _event(record)) is not None]
        rows = sorted((topic, partition, position) for (topic, partition), position in positions.items())
        async with self._database.writing() as connection:
            await remember(connection, events)
            await _ADVANCE.execute(connection, rows)


def _event(record: Record) -> ChannelsEvent | None:
    """Return the event of a record; the consuming loop parks what holds none, with all that follows."""
    if record.value is None:
        return None
    try:
        event = read_stream_event(record)
    except Poison as poison:
        log.warning("channel_event_passed_over", offset=record.offset, reason=str(poison))
        return None
    return event if isinstance(event, ChannelsEvent) else None
