"""Relays: stepped by hand, or running as a process would run them; and what they leave and tell."""

import asyncio
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from sqlalchemy import func, insert, select

from backbone.database.engine import Database
from backbone.database.migrations import migrate
from backbone.database.tables import outbox
from backbone.eventlog import EventLog
from backbone.health import Health
from backbone.outbox import Lane, outbox_row, shards_of
from backbone.relay import LaneRelay, owned_shard
from backbone.settings import Settings
from backbone.wiring import open_database, open_eventlog
from schemas.events import MessagesEvent, decode_stream_event
from schemas.states import decode_state
from schemas.topics import ALL_TOPICS, MESSAGES_STATE, STREAM_TOPICS, partition_of
from tests.support.database import own_database
from tests.support.eventlog import dropped_topics, read_all

_PROCESS = """
import asyncio, os
from backbone.health import Health
from backbone.relay import LaneRelay
from backbone.settings import read_settings
from backbone.wiring import open_database, open_eventlog

async def main():
    settings = read_settings(dict(os.environ), dotenv=None)
    relay = LaneRelay(open_database(settings), open_eventlog(settings), "messages", Health("database"))
    await relay.run(asyncio.Event())

asyncio.run(main())
"""


@dataclass
class Stores:
    """The stores of one test, and the settings with which others open them."""

    settings: Settings
    database: Database
    eventlog: EventLog
    shards: int

    def shard_of(self, channel_id: str) -> int:
        """Return the shard of a channel."""
        return partition_of(channel_id, self.shards)

    async def drain(self) -> int:
        """Tell the log everything that the outbox holds; return how many rows that were."""
        return await drain(self.database, self.eventlog, "messages", Health("database"))


@asynccontextmanager
async def own_stores(settings: Settings, name: str) -> AsyncIterator[Stores]:
    """Open a database and a log of the test's own, with tables and topics."""
    async with own_database(settings, name) as own, dropped_topics(own):
        database, eventlog = open_database(own), open_eventlog(own)
        try:
            await migrate(database)
            await eventlog.apply_topics(ALL_TOPICS, 3)
            yield Stores(own, database, eventlog, await shards_of(database, "messages"))
        finally:
            await eventlog.close()
            await database.close()


@dataclass
class Relaying:
    """A relay that runs, with stores of its own, as another process would have them."""

    database: Database
    eventlog: EventLog
    relay: LaneRelay
    health: Health
    stop: asyncio.Event
    running: asyncio.Task[None]

    async def end(self) -> None:
        """Stop it, as SIGTERM would."""
        self.stop.set()
        await self.running


@asynccontextmanager
async def relaying(
    settings: Settings, lane: Lane = "messages", health: Health | None = None
) -> AsyncIterator[Relaying]:
    """Run a relay during the block."""
    database, eventlog = open_database(settings), open_eventlog(settings)
    health, stop = health or Health("database"), asyncio.Event()
    relay = LaneRelay(database, eventlog, lane, health)
    running = asyncio.create_task(relay.run(stop))
    try:
        yield Relaying(database, eventlog, relay, health, stop, running)
    finally:
        stop.set()
        await running
        await eventlog.close()
        await database.close()


@contextmanager
def process(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a relay as a process of its own."""
    variables = {
        **os.environ,
        "MAEARI_DATABASE_URL": settings.database_url,
        "MAEARI_EVENTLOG_URL": settings.eventlog_url,
        "MAEARI_TOPIC_PREFIX": settings.topic_prefix,
    }
    started = subprocess.Popen([sys.executable, "-c", _PROCESS], env=variables, stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


async def owns(relaying: Relaying, shards: int) -> bool:
    """Say whether it owns as many shards."""
    return len(relaying.relay.owned) == shards


async def drain(database: Database, eventlog: EventLog, lane: Lane, health: Health) -> int:
    """Tell the log everything that a lane holds; return how many rows that were. Nobody else may relay."""
    told = 0
    for number in range(await shards_of(database, lane)):
        async with owned_shard(database, eventlog, lane, number, health) as shard:
            assert shard is not None, "nobody else relays in a test"
            while rows := await shard.step():
                told += rows
    return told


async def put(database: Database, events: Sequence[MessagesEvent]) -> None:
    """Store events in the outbox, in one transaction."""
    shards = await shards_of(database, "messages")
    rows = [outbox_row("messages", shards, event.payload.channel_id, event) for event in events]
    async with database.writing() as connection:
        await connection.execute(insert(outbox), rows)


async def left(database: Database) -> int:
    """Return how many rows the outbox holds."""
    async with database.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(outbox)) or 0)


async def nothing_left(database: Database) -> bool:
    return await left(database) == 0


async def told_by_channel(eventlog: EventLog) -> dict[str, list[int]]:
    """Return the sequences that the log tells of each channel, topic by topic, as they lie there."""
    told: dict[str, list[int]] = defaultdict(list)
    for topic in STREAM_TOPICS:
        for record in await read_all(eventlog, topic):
            event = decode_stream_event(record.value or b"")
            told[event.payload.channel_id].append(event.sequence)
    return dict(told)


async def last_versions(eventlog: EventLog) -> dict[str, int]:
    """Return the version of each message that compaction would keep."""
    states = await read_all(eventlog, MESSAGES_STATE)
    return {record.key or "": decode_state(record.value or b"").version for record in states}
