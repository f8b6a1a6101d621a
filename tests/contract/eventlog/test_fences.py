"""Producers behind a fence: the last one opened writes, earlier ones never; a send is whole or absent."""

import asyncio

import pytest

from backbone.eventlog import MAX_RECORD_BYTES, EventLog, Fenced, RecordTooLarge
from schemas.topics import MESSAGES_CREATED as CREATED
from schemas.topics import MESSAGES_STATE
from tests.support.eventlog import LogSite, after, poll_until, read_to_end, record, texts
from tests.support.waiting import until

TOPICS = (CREATED, MESSAGES_STATE)


async def test_a_later_producer_takes_the_fence(site: LogSite, log: EventLog) -> None:
    """Once a second one is opened, in another process, the first can send nothing that anybody reads."""
    first = await log.producer("relay.messages.0")
    await first.send([record(CREATED, "k", "1")])
    second = await site.open().producer("relay.messages.0")
    for _ in range(2):
        with pytest.raises(Fenced):
            await first.send([record(CREATED, "k", "zombie"), record(MESSAGES_STATE, "k", "zombie")])
    await second.send([record(CREATED, "k", "2")])
    with pytest.raises(Fenced):
        await first.send([record(CREATED, "k", "zombie")])
    await first.close()
    await second.send([record(CREATED, "k", "3")])
    assert texts(await read_to_end(await log.reader(TOPICS))) == ["1", "2", "3"]


async def test_fences_of_other_names_do_not_meet(site: LogSite, log: EventLog) -> None:
    """Producers of other fences, and those without one, go on."""
    others = [await log.producer(fence) for fence in ("relay.messages.1", "relay.notifications.0", None)]
    await (await site.open().producer("relay.messages.0")).send([record(CREATED, "k", "mine")])
    for number, producer in enumerate(others):
        await producer.send([record(CREATED, "k", f"{number}")])
    assert texts(await read_to_end(await log.reader([CREATED]))) == ["mine", "0", "1", "2"]


async def test_sends_keep_their_order_and_are_whole(log: EventLog) -> None:
    """Many records, more than a batch holds, of several sends at once: each send's lie together, in order."""
    producer = await log.producer("f")
    await producer.send([])
    await asyncio.gather(
        *(
            producer.send([record(CREATED, f"c{i % 5}", f"{n}:{i}:" + "x" * 5_000) for i in range(200)])
            for n in range(3)
        )
    )
    read = [value.split(":")[:2] for value in texts(await read_to_end(await log.reader([CREATED])))]
    assert len(read) == 600
    for channel in range(5):
        numbers = [(int(n), int(i)) for n, i in read if int(i) % 5 == channel]
        assert numbers == [(n, i) for n in range(3) for i in range(channel, 200, 5)]


async def test_what_was_sent_is_there_for_who_looks_then(log: EventLog) -> None:
    """A reader that asks for the end after a send has returned finds all of it before that end."""
    producer = await log.producer("f")
    reader = await log.reader(TOPICS)
    for number in range(20):
        await producer.send([record(topic, f"{n}", f"{number}") for topic in TOPICS for n in range(10)])
        assert texts(await read_to_end(reader)) == [f"{number}"] * 20


@pytest.mark.parametrize("max_records", [7, 500])
async def test_a_group_that_has_read_all_is_at_the_end(log: EventLog, max_records: int) -> None:
    """Whatever lies behind the last records, committed offsets reach the end; without a commit they stay."""
    producer = await log.producer("f")
    member = await log.consumer("g", [CREATED])
    read_up_to = 0
    for number in range(3):
        await producer.send([record(CREATED, f"{n}", f"{number}") for n in range(20)])
        batch = await poll_until(member, 20, max_records=max_records)
        for _ in range(3):
            assert await member.poll(10, 0.1) == []
        assert await committed(log) == read_up_to
        await member.commit(after(batch))

        async def all_committed() -> bool:
            # A commit that met a rebalance is lost, and its records come again.
            if again := await member.poll(max_records, 0.1):
                await member.commit(after(again))
            return await committed(log) == await end(log)

        await until(all_committed, within_s=20)
        read_up_to = await end(log)
    await member.close()


async def committed(log: EventLog) -> int:
    return sum((await log.committed("g", [CREATED])).values())


async def end(log: EventLog) -> int:
    return sum((await log.topics())[CREATED.name].end)


async def test_a_record_too_large_does_not_end_the_producer(log: EventLog) -> None:
    """RecordTooLarge, nothing of the batch is written, and the next send works."""
    producer = await log.producer("f")
    with pytest.raises(RecordTooLarge):
        await producer.send([record(CREATED, "k", "before"), record(CREATED, "k", "x" * MAX_RECORD_BYTES)])
    await producer.send([record(CREATED, "k", "x" * (MAX_RECORD_BYTES - 1))])
    (taken,) = await read_to_end(await log.reader([CREATED]))
    assert len(taken.value or b"") == MAX_RECORD_BYTES - 1


async def test_a_send_that_is_cut_off_is_not_seen_after_the_next_opening(
    site: LogSite, log: EventLog
) -> None:
    """Cancelled at any moment, a send is there whole or absent once another producer has the fence."""
    reader = await log.reader(TOPICS)
    for number in range(6):
        producer = await log.producer("f")
        cut_off = asyncio.create_task(
            producer.send([record(topic, f"{n}", f"{number}") for topic in TOPICS for n in range(20)])
        )
        await asyncio.wait({cut_off}, timeout=0.001 * number)
        cut_off.cancel()
        await asyncio.gather(cut_off, return_exceptions=True)
        successor = await site.open().producer("f")
        await successor.send([record(CREATED, "k", "next")])
        seen = texts(await read_to_end(reader))
        assert seen.count(f"{number}") in {0, 40}
        assert seen.count("next") == 1
        assert len(seen) == seen.count(f"{number}") + 1
