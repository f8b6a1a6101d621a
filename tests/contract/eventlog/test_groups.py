"""Consumer groups on every event log: offsets, shared partitions, rewinding, lag."""

import asyncio

from backbone.eventlog import EventLog, TopicPartition
from schemas.topics import MESSAGES_CREATED as CREATED
from schemas.topics import MESSAGES_STATE, partition_of
from tests.support.eventlog import LogSite, after, poll_until, record, texts

TOPICS = (CREATED, MESSAGES_STATE)


def keys_of_partition(partition: int, number: int) -> list[str]:
    """Return keys that all lie in one of three partitions."""
    keys = (f"채널-{n}" for n in range(1_000))
    return [key for key in keys if partition_of(key, 3) == partition][:number]


async def test_a_group_goes_on_where_it_committed(site: LogSite, log: EventLog) -> None:
    """A new member, in a new process, begins behind the last commit: the rest comes again."""
    await (await log.producer()).send([record(CREATED, "k", str(n)) for n in range(10)])
    first = site.open()
    member = await first.consumer("g", [CREATED])
    batch = await poll_until(member, 4, max_records=4)
    assert texts(batch) == ["0", "1", "2", "3"]
    await member.commit(after(batch))
    assert texts(await poll_until(member, 3, max_records=3)) == ["4", "5", "6"]
    await first.close()
    again = await site.open().consumer("g", [CREATED])
    assert texts(await poll_until(again, 6)) == [str(n) for n in range(4, 10)]


async def test_each_group_gets_everything(log: EventLog) -> None:
    """Groups do not share offsets; each reads every topic it takes."""
    producer = await log.producer()
    await producer.send([record(CREATED, "a", "1"), record(MESSAGES_STATE, "b", "2")])
    for group in ("g1", "g2"):
        member = await log.consumer(group, TOPICS)
        assert sorted(texts(await poll_until(member, 2))) == ["1", "2"]


async def test_members_share_partitions_and_take_them_over(site: LogSite, log: EventLog) -> None:
    """Two members read disjoint partitions; when one leaves, the other gets all."""
    producer = await log.producer()
    members = [await log.consumer("g", [CREATED]), await site.open().consumer("g", [CREATED])]
    held: list[set[int]] = [set(), set()]
    rounds = 0
    while not (held[0] and held[1] and held[0] | held[1] == {0, 1, 2} and not held[0] & held[1]):
        rounds += 1
        await producer.send([record(CREATED, keys_of_partition(p, 1)[0], f"{rounds}") for p in range(3)])
        for n, batch in enumerate(await asyncio.gather(*(m.poll(100, 0.2) for m in members))):
            held[n] = {r.partition for r in batch}
            await members[n].commit(after(batch))
    await members[0].close()
    seen: set[int] = set()
    while seen != {0, 1, 2}:
        await producer.send([record(CREATED, keys_of_partition(p, 1)[0], "later") for p in range(3)])
        batch = await members[1].poll(100, 0.2)
        await members[1].commit(after(batch))
        seen = {r.partition for r in batch}


async def test_a_lost_partition_cannot_be_committed(site: LogSite, log: EventLog) -> None:
    """The commit of a batch whose partitions went to another member is dropped, without an error."""
    await (await log.producer()).send([record(CREATED, keys_of_partition(p, 1)[0], str(p)) for p in range(3)])
    slow = await log.consumer("g", [CREATED])
    batch = await poll_until(slow, 3)
    other = await site.open().consumer("g", [CREATED])
    taken: set[TopicPartition] = set()
    while not taken:
        await slow.poll(100, 0.1)
        taken = {r.topic_partition for r in await other.poll(100, 0.2)}
    await slow.commit(after(batch))
    committed = await log.committed("g", [CREATED])
    assert {committed[place] for place in taken} == {0}


async def test_rewind_reads_again(log: EventLog) -> None:
    """After a rewind the same records come again; other partitions go on from where they are."""
    here, there = keys_of_partition(0, 1)[0], keys_of_partition(1, 1)[0]
    await (await log.producer()).send([record(CREATED, key, key) for key in (here, there, here)])
    member = await log.consumer("g", [CREATED])
    assert sorted(texts(await poll_until(member, 3))) == sorted([here, there, here])
    await member.rewind({TopicPartition(CREATED.name, 0): 1})
    assert [(r.offset, r.key) for r in await poll_until(member, 1)] == [(1, here)]


async def test_lag_counts_what_is_not_read(log: EventLog) -> None:
    """Lag is the distance from the position to the end, for each partition held."""
    await (await log.producer()).send([record(CREATED, "k", str(n)) for n in range(10)])
    member = await log.consumer("g", [CREATED])
    await poll_until(member, 3, max_records=3)
    progress = await member.progress()
    assert len(progress) == 3
    assert sum(each.lag for each in progress.values()) == 7


async def test_committed_is_zero_before_any_commit(log: EventLog) -> None:
    """`committed` names every partition of the topics, also for a group that never was."""
    committed = await log.committed("nobody", TOPICS)
    assert dict(committed) == {TopicPartition(t.name, p): 0 for t in TOPICS for p in range(3)}
    await (await log.producer()).send([record(CREATED, "k")])
    member = await log.consumer("g", [CREATED])
    batch = await poll_until(member, 1)
    await member.commit(after(batch))
    committed = await log.committed("g", TOPICS)
    assert sum(committed.values()) == committed[batch[0].topic_partition] == 1


async def test_a_cancelled_poll_loses_nothing(log: EventLog) -> None:
    """Records that a cancelled poll would have returned come with the next one."""
    member = await log.consumer("g", [CREATED])
    producer = await log.producer()
    for n in range(5):
        waiting = asyncio.create_task(member.poll(10, 5.0))
        await asyncio.gather(producer.send([record(CREATED, "k", str(n))]), asyncio.sleep(0))
        waiting.cancel()
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        batch = await poll_until(member, 1) if isinstance(outcome, BaseException) else outcome
        assert texts(batch) == [str(n)]
