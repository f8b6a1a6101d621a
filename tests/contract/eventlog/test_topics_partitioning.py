"""Records lie in the partitions that clients of other languages expect, on every event log."""

from backbone.eventlog import EventLog
from schemas.topics import CHANNELS_CHANGED
from tests.support.eventlog import append, read_all, record
from tests.unit.test_partitioning import VECTORS


async def test_a_record_lies_where_java_and_kafkajs_would_put_it(log: EventLog) -> None:
    """Given keys of all kinds, each one's record is in the partition of the golden vectors."""
    await log.apply_topics([CHANNELS_CHANGED], 12)
    await append(log, [record(CHANNELS_CHANGED, vector.key) for vector in VECTORS])
    found = {read.key: read.partition for read in await read_all(log, CHANNELS_CHANGED)}
    assert found == {vector.key: vector.partitions[12] for vector in VECTORS}


async def test_a_producer_with_a_fence_chooses_the_same(log: EventLog) -> None:
    """Given a fence, as the relay has one, the partitions are the same."""
    await log.apply_topics([CHANNELS_CHANGED], 6)
    producer = await log.producer("partitioning")
    await producer.send([record(CHANNELS_CHANGED, vector.key) for vector in VECTORS])
    found = {read.key: read.partition for read in await read_all(log, CHANNELS_CHANGED)}
    assert found == {vector.key: vector.partitions[6] for vector in VECTORS}
