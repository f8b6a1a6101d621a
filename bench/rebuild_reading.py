"""One way of reading a topic, in a process of its own: `python -m bench.rebuild_reading KIND TOPIC`.

`client` is the client library alone (aiokafka), `reader` the port over it, with nothing done to the records;
`fold` keeps the newest version of each message in memory, `states` its whole newest state. Prints one line of
JSON on stdout.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from backbone.eventlog import EventLog, Record
from backbone.settings import Settings, read_settings
from backbone.wiring import open_eventlog
from rebuilder.search.newest import Newest
from schemas.messages import MessageState
from schemas.states import decode_state
from schemas.topics import ALL_TOPICS, MESSAGES_STATE

AT_ONCE = 500


class Read(msgspec.Struct, frozen=True):
    """How many records were read, and in what time; `messages` is what a fold found."""

    records: int
    seconds: float
    messages: int = 0


async def read(settings: Settings, kind: str, topic: str) -> Read:
    """Read a topic to its end. Raises Unavailable."""
    eventlog = open_eventlog(settings)
    try:
        if kind == "client":
            return await _with_client(settings, eventlog, topic)
        if kind == "reader":
            return await _with_reader(eventlog, topic, lambda _records: None)
        if kind == "states":
            states: dict[str, MessageState] = {}
            found = await _with_reader(eventlog, topic, lambda records: _keep(states, records))
            return msgspec.structs.replace(found, messages=len(states))
        newest = Newest(at_most=sys.maxsize)
        found = await _with_reader(eventlog, topic, newest.of)
        return msgspec.structs.replace(found, messages=len(newest.versions))
    finally:
        await eventlog.close()


def reading_command(kind: str, topic: str = MESSAGES_STATE.name) -> tuple[str, ...]:
    """Return the command of a reading in a process of its own."""
    return (sys.executable, "-m", "bench.rebuild_reading", kind, topic)


def _keep(states: dict[str, MessageState], records: Sequence[Record]) -> None:
    for record in records:
        if record.value is None:
            states.pop(record.key or "", None)
            continue
        state = decode_state(record.value)
        before = states.get(state.message_id)
        if before is None or before.version <= state.version:
            states[state.message_id] = state


async def _with_reader(eventlog: EventLog, topic: str, done: Callable[[Sequence[Record]], object]) -> Read:
    reader = await eventlog.reader([each for each in ALL_TOPICS if each.name == topic])
    ends = await reader.end_offsets()
    began, count = time.perf_counter(), 0
    while any(reader.positions()[place] < end for place, end in ends.items()):
        records = await reader.read(AT_ONCE, 1.0)
        done(records)
        count += len(records)
    seconds = time.perf_counter() - began
    await reader.close()
    return Read(count, seconds)


async def _with_client(settings: Settings, eventlog: EventLog, topic: str) -> Read:
    from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: PLC0415 - only where there is Kafka

    servers = settings.eventlog_url.removeprefix("kafka://")
    client = AIOKafkaConsumer(
        bootstrap_servers=servers, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await client.start()
    try:
        state = (await eventlog.topics())[topic]
        places = [TopicPartition(eventlog.full_name(topic), number) for number in range(state.partitions)]
        client.assign(places)
        await client.seek_to_beginning(*places)
        ends = await client.end_offsets(places)
        began, count = time.perf_counter(), 0
        while any([await client.position(place) < end for place, end in ends.items()]):
            fetched = await client.getmany(timeout_ms=1000, max_records=AT_ONCE)
            count += sum(map(len, fetched.values()))
        return Read(count, time.perf_counter() - began)
    finally:
        await client.stop()


if __name__ == "__main__":
    found = asyncio.run(read(read_settings(dict(os.environ), dotenv=None), sys.argv[1], sys.argv[2]))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
