"""What the stores hold of what was acknowledged: a figure counts only where both say the same.

Guarantees: rows in PostgreSQL and records in Kafka are counted after every run; what is missing, or too
much, fails the measurement.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import column, func, select, table

from backbone.database.engine import Database
from backbone.eventlog import Reader
from backbone.wiring import open_database, open_eventlog
from bench.against_node.contenders import Contender
from bench.failure import MeasurementFailed
from bench.http_client import Tally
from schemas.topics import MESSAGES_CREATED

_TOLD_WITHIN_S = 120.0
_AT_ONCE = 2_000


class _Identity(msgspec.Struct):
    message_id: str


class _Event(msgspec.Struct):
    payload: _Identity


class Ledger:
    """Counts what one contender's stores have got since it was asked last."""

    def __init__(self, contender: Contender, database: Database, reader: Reader) -> None:
        self._contender = contender
        self._database = database
        self._reader = reader
        self._event = msgspec.json.Decoder(_Event)
        self._rows = 0

    async def require_tallies(self, *tallies: Tally, bus: bool = True) -> None:
        """Raise MeasurementFailed where the stores do not hold what these loads were answered."""
        lost = sum(each.lost for each in tallies)
        await self.require(sum(each.acknowledged for each in tallies), lost, bus=bus)

    async def require(self, acknowledged: int, lost: int = 0, *, bus: bool = True) -> None:
        """Raise MeasurementFailed where the stores hold something else; what got no answer may be there."""
        rows = await self._new_rows()
        self._compare("PostgreSQL has", rows, acknowledged, acknowledged + lost)
        # What is stored is told in the end, also where the answer was lost.
        records = await self._new_records(rows) if bus else 0
        told = rows if self._contender.table == "messages" else acknowledged
        if bus:
            self._compare("Kafka has", records, told, rows)

    def _compare(self, who: str, found: int, least: int, most: int) -> None:
        if not least <= found <= most:
            raise MeasurementFailed(
                f"{self._contender.name}: {least:,} messages were acknowledged, and {who} {found:,}"
            )

    async def _new_rows(self) -> int:
        messages = table(self._contender.table, column("message_id"))
        async with self._database.reading() as connection:
            rows = int((await connection.execute(select(func.count()).select_from(messages))).scalar_one())
        found, self._rows = rows - self._rows, rows
        return found

    async def _new_records(self, expected: int) -> int:
        """Read on until as many messages came as are expected, and to the end of the log."""
        found: set[str] = set()
        deadline_s = time.monotonic() + _TOLD_WITHIN_S
        while True:
            ends = await self._reader.end_offsets()
            while any(self._reader.positions()[place] < end for place, end in ends.items()):
                for record in await self._reader.read(_AT_ONCE, 1.0):
                    found.add(self._event.decode(record.value or b"").payload.message_id)
            if len(found) >= expected or time.monotonic() > deadline_s:
                return len(found)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def opened_ledger(contender: Contender) -> AsyncIterator[Ledger]:
    """Open a ledger of a contender whose stores are empty yet."""
    database, eventlog = open_database(contender.stores), open_eventlog(contender.stores)
    try:
        reader = await eventlog.reader([MESSAGES_CREATED])
        try:
            yield Ledger(contender, database, reader)
        finally:
            await reader.close()
    finally:
        await eventlog.close()
        await database.close()
