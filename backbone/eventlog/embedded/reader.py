"""Reads partitions of the file from the beginning, without a group."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from backbone.eventlog import Record, TopicPartition
from backbone.eventlog.embedded import records
from backbone.eventlog.embedded.storage import Storage


class EmbeddedReader:
    """See Reader; it holds nothing but its positions."""

    def __init__(
        self, storage: Storage, names: Mapping[int, TopicPartition], partition_ids: Sequence[int]
    ) -> None:
        self._storage = storage
        self._names = names
        self._positions = dict.fromkeys(partition_ids, 0)
        self._turn = 0

    async def end_offsets(self, undecided: bool = False) -> Mapping[TopicPartition, int]:
        """See Reader; nothing is undecided here."""
        del undecided
        ends = await self._bounds()
        return {self._names[id_]: ends[id_].next_offset for id_ in self._positions}

    def positions(self) -> Mapping[TopicPartition, int]:
        """See Reader."""
        return {self._names[id_]: position for id_, position in self._positions.items()}

    async def read(self, max_records: int, timeout_s: float) -> list[Record]:
        """See Reader."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        order = list(self._positions)
        if not order:
            return []
        self._turn = (self._turn + 1) % len(order)
        order = order[self._turn :] + order[: self._turn]
        while True:
            changes = self._storage.changes
            starts = {id_: self._positions[id_] for id_ in order}
            fetched = await self._storage.read(
                partial(records.fetch, names=self._names, positions=starts, max_records=max_records)
            )
            self._positions.update(fetched.positions)
            left_s = deadline - loop.time()
            if fetched.records or left_s <= 0:
                return fetched.records
            await self._storage.changed_since(changes, left_s)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader."""
        self._positions.update(
            (id_, positions[self._names[id_]]) for id_ in self._positions if self._names[id_] in positions
        )

    async def seek_to_end(self) -> None:
        """See Reader."""
        self._positions = {id_: bound.next_offset for id_, bound in (await self._bounds()).items()}

    async def close(self) -> None:
        """See Reader; there is nothing to release."""

    async def _bounds(self) -> dict[int, records.Bounds]:
        return await self._storage.read(partial(records.bounds, partition_ids=list(self._positions)))
