"""The event log on one SQLite file: partitions, consumer groups and compaction without a server.

Guarantees, beside those of the port: what was acknowledged survives kill -9; several processes of one
machine share the file and its groups; a killed member's partitions are taken over at once, a frozen
one's after the session time-out; consumers wake within about 10 ms of an append by another process,
at once for one of their own.

`apply_topics`, which every start of `maeari dev` calls, compacts the topics that are compacted and drops
what has expired, a partition at a time: about a quarter of a second for 100 000 records. So between
two starts a compacted topic grows as its events do; what is freed in the file is used again.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import DEPENDENCY, NewRecord, RecordTooLarge, TopicPartition, TopicState
from backbone.eventlog.embedded import fences, groups, records
from backbone.eventlog.embedded.catalog import Catalog
from backbone.eventlog.embedded.consumer import (
    EmbeddedConsumer,
    beat_forever,
    members_folder,
    new_membership,
)
from backbone.eventlog.embedded.fences import Fence
from backbone.eventlog.embedded.liveness import is_alive
from backbone.eventlog.embedded.reader import EmbeddedReader
from backbone.eventlog.embedded.storage import Storage
from schemas.topics import Topic, partition_of

SESSION_TIMEOUT_S = 5.0
BEAT_INTERVAL_S = 1.0

log = structlog.get_logger()


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


class EmbeddedProducer:
    """See Producer; every batch is one transaction, so it is written whole or not at all.

    The same transaction sees to it that the fence, where there is one, is still this producer's.
    """

    def __init__(
        self, storage: Storage, catalog: Catalog, now_ms: Callable[[], int], fence: Fence | None
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._now_ms = now_ms
        self._fence = fence

    async def send(self, records_: Sequence[NewRecord]) -> None:
        """See Producer."""
        if not records_:
            return
        RecordTooLarge.check(records_)
        try:
            ids = await self._catalog.partition_ids(list({record.topic for record in records_}))
        except SetupError as error:
            raise Unavailable(DEPENDENCY, str(error)) from error
        batches: dict[int, list[NewRecord]] = {}
        for record in records_:
            partitions = ids[record.topic]
            id_ = partitions[partition_of(record.ordering_key, len(partitions))]
            batches.setdefault(id_, []).append(record)
        await self._storage.write(partial(self._append, batches=batches))

    async def close(self) -> None:
        """See Producer; there is nothing to release."""

    def _append(self, connection: sqlite3.Connection, batches: Mapping[int, Sequence[NewRecord]]) -> None:
        if self._fence is not None:
            fences.require(connection, self._fence)
        records.append(connection, batches, self._now_ms())


class EmbeddedEventLog:
    """See EventLog; topics of several prefixes may share the file."""

    def __init__(
        self,
        path: Path,
        prefix: str,
        *,
        session_timeout_s: float = SESSION_TIMEOUT_S,
        now_ms: Callable[[], int] = _system_ms,
    ) -> None:
        self._storage = Storage(path)
        self._catalog = Catalog(self._storage, prefix)
        self._session_timeout_s = session_timeout_s
        self._now_ms = now_ms
        self._consumers: list[EmbeddedConsumer] = []
        self._beating: asyncio.Task[None] | None = None

    def full_name(self, topic: str) -> str:
        return self._catalog.full_name(topic)

    async def producer(self, fence: str | None = None) -> EmbeddedProducer:
        """See EventLog. Raises SetupError when the file cannot be used."""
        await self._storage.open()
        held = None
        if fence is not None:
            held = await self._storage.write(partial(fences.take, name=self._catalog.full_name(fence)))
        return EmbeddedProducer(self._storage, self._catalog, self._now_ms, held)

    async def consumer(
        self, group: str, topics: Sequence[Topic], instance: str | None = None
    ) -> EmbeddedConsumer:
        """See EventLog; a member that comes back takes its partitions at once, whatever its name."""
        del instance
        await self._catalog.all_ids(topics)
        membership = new_membership(group, tuple(self._catalog.full_name(topic.name) for topic in topics))
        consumer = EmbeddedConsumer(
            self._storage, self._catalog.names, membership, self._session_timeout_s, self._consumers.remove
        )
        self._consumers.append(consumer)
        if self._beating is None:
            self._beating = asyncio.create_task(beat_forever(lambda: self._consumers, BEAT_INTERVAL_S))
        return consumer

    async def reader(
        self, topics: Sequence[Topic], partitions: Collection[int] | None = None
    ) -> EmbeddedReader:
        """See EventLog."""
        ids = await self._catalog.all_ids(topics)
        names = self._catalog.names
        chosen = [id_ for id_ in ids if partitions is None or names[id_].partition in partitions]
        return EmbeddedReader(self._storage, names, chosen)

    async def committed(self, group: str, topics: Sequence[Topic]) -> Mapping[TopicPartition, int]:
        """See EventLog."""
        ids = await self._catalog.all_ids(topics)
        found = await self._storage.read(partial(groups.committed_offsets, group=group, partition_ids=ids))
        return {self._catalog.names[id_]: found.get(id_, 0) for id_ in ids}

    async def members(self, group: str) -> int:
        """See EventLog."""
        folder = members_folder(self._storage.path)
        joined = await self._storage.read(partial(groups.members, group=group))
        return sum(is_alive(folder, member_id, self._session_timeout_s) for member_id in joined)

    async def topics(self, *, sizes: bool = False) -> Mapping[str, TopicState]:
        """See EventLog."""
        return await self._catalog.states(sizes=sizes)

    async def apply_topics(
        self, topics: Sequence[Topic], partitions: int, *, dry_run: bool = False
    ) -> list[str]:
        """See EventLog."""
        apply = partial(self._catalog.apply, topics=topics, partitions=partitions, dry_run=dry_run)
        if dry_run:
            return await self._storage.read(apply)
        lines = await self._storage.write(apply)
        for topic in topics:
            await self.compact(topic)
        return lines

    async def drop_topics(self) -> None:
        """See EventLog; the file keeps its size, and what is freed in it is used again."""
        await self._storage.write(self._catalog.drop)
        self._catalog.forget()

    async def compact(self, topic: Topic) -> None:
        """Keep the last record of each key, or drop what has expired; a topic kept for ever stays whole."""
        ids = await self._catalog.all_ids([topic])
        if topic.cleanup == "compact":
            thin_out = partial(records.compact, now_ms=self._now_ms())
        elif topic.retention_ms is not None:
            thin_out = partial(records.expire, before_ms=self._now_ms() - topic.retention_ms)
        else:
            return
        # A transaction for each partition: writers of other processes get in between.
        removed = [await self._storage.write(partial(thin_out, id_=id_)) for id_ in ids]
        if any(removed):
            log.info("eventlog_compacted", topic=topic.name, removed=sum(removed))

    async def close(self) -> None:
        """See EventLog."""
        try:
            for consumer in list(self._consumers):
                await consumer.close()
        finally:
            if self._beating is not None:
                self._beating.cancel()
                await asyncio.gather(self._beating, return_exceptions=True)
            await self._storage.close()
