"""How much each group has parked, read from `dead-letters` and kept up with from look to look."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backbone.eventlog import EventLog, Reader
from backbone.eventlog.parking.ledger import Ledger
from backbone.eventlog.reading import read_to_end
from schemas.topics import DEAD_LETTERS


class ParkedCount(NamedTuple):
    """Of one group: how many ordering keys are stopped, and how many records are parked."""

    keys: int
    records: int


class ParkedCounts:
    """Reads the dead letters once, then what is new with each look."""

    def __init__(self, eventlog: EventLog, groups: Sequence[str]) -> None:
        self._eventlog = eventlog
        self._ledgers = {group: Ledger(group) for group in groups}
        self._reader: Reader | None = None

    async def look(self) -> Mapping[str, ParkedCount]:
        """Return what is parked by now. Raises Unavailable, or SetupError where the topic is missing."""
        if self._reader is None:
            self._reader = await self._eventlog.reader([DEAD_LETTERS])
        try:
            async for records in read_to_end(self._reader):
                for record in records:
                    for ledger in self._ledgers.values():
                        ledger.take(record)
        except BaseException:
            # Whatever it was: what was read may not have been taken in.
            await self.close()
            raise
        for ledger in self._ledgers.values():
            ledger.dealt_with.clear()
        return {
            group: ParkedCount(len(ledger.by_key), ledger.size) for group, ledger in self._ledgers.items()
        }

    async def close(self) -> None:
        """Release the reader, and forget what it read."""
        reader, self._reader = self._reader, None
        self._ledgers = {group: Ledger(group) for group in self._ledgers}
        if reader is not None:
            await reader.close()
