"""Topics on every event log: made once, described, missed and compacted."""

import asyncio
import re
from dataclasses import replace

import pytest

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import EventLog
from backbone.startup import check_topics
from schemas.topics import (
    CHANNELS_CHANGED,
    DAY_MS,
    DEAD_LETTERS,
    MESSAGES_STATE,
    NOTIFICATIONS_SENT,
    REPLAY_HORIZON_MS,
)
from schemas.topics import MESSAGES_CREATED as CREATED
from tests.support.eventlog import LogSite, after, append, poll_until, read_all, read_to_end, record, texts
from tests.support.waiting import until

TOPICS = (CREATED, MESSAGES_STATE)


async def test_topics_are_made_once(log: EventLog) -> None:
    """apply_topics says what it made, then nothing; partitions that differ are named, and stay."""
    assert await log.apply_topics(TOPICS, 3) == []
    assert await log.apply_topics([*TOPICS, NOTIFICATIONS_SENT], 4) == [
        f"{log.full_name('notifications.sent')}: made with 3 partitions, kept for 30 days",
        *(
            f"{log.full_name(name)}: has 3 partitions, wanted 4; left as it is, or keys would change places"
            for name in ("messages.created", "messages.state")
        ),
    ]
    assert (await log.topics())["messages.created"].partitions == 3


async def test_a_dry_run_changes_nothing(log: EventLog) -> None:
    """With dry_run it says the same in another mood, as often as it is asked."""
    lost = replace(CREATED, cleanup="expire", retention_ms=DAY_MS)
    for _ in range(2):
        assert await log.apply_topics([lost, NOTIFICATIONS_SENT], 3, dry_run=True) == [
            f"{log.full_name('notifications.sent')}: would be made with 3 partitions, kept for 30 days",
            f"{log.full_name('messages.created')}: cleanup would change from kept for ever to kept for 1 day",
        ]
    states = await log.topics()
    assert states.keys() == {"messages.created", "messages.state"}
    assert states["messages.created"].cleanup == "keep"


async def test_topics_are_altered_once(log: EventLog) -> None:
    """Given topics kept otherwise than they should be, apply_topics alters them, says it, and is done."""
    other = [
        replace(NOTIFICATIONS_SENT, retention_ms=45 * DAY_MS),
        replace(CHANNELS_CHANGED, cleanup="expire", retention_ms=7 * DAY_MS),
        replace(DEAD_LETTERS, cleanup="keep"),
    ]
    await log.apply_topics(other, 3)
    right = [NOTIFICATIONS_SENT, CHANNELS_CHANGED, DEAD_LETTERS]
    lines = await log.apply_topics(right, 3)
    assert [line for line in lines if "cleanup" in line] == [
        f"{log.full_name(name)}: cleanup changed from {before} to {after}"
        for name, before, after in (
            ("notifications.sent", "kept for 45 days", "kept for 30 days"),
            ("channels.changed", "kept for 7 days", "kept for ever"),
            ("dead-letters", "kept for ever", "compacted"),
        )
    ]
    assert await log.apply_topics(right, 3) == []
    states = await log.topics()
    assert {topic.name: (topic.cleanup, topic.retention_ms) for topic in right} == {
        topic.name: (states[topic.name].cleanup, states[topic.name].retention_ms) for topic in right
    }
    assert states["dead-letters"].tombstones_ms == REPLAY_HORIZON_MS


async def test_uneven_topics_are_named(log: EventLog) -> None:
    """Given topics with unlike numbers of partitions, it is said, and those who consume both must mend it."""
    await log.apply_topics([DEAD_LETTERS], 5)
    *_, line = await log.apply_topics([*TOPICS, DEAD_LETTERS], 3)
    dead_letters = log.full_name("dead-letters")
    assert f"different numbers of partitions (5: {dead_letters}; 3: the others)" in line
    await check_topics(log, [*TOPICS, DEAD_LETTERS])
    with pytest.raises(SetupError, match=r"\(3: .*created; 5: .*\)|\(5: .*letters; 3: .*\)") as caught:
        await check_topics(log, consumed=[CREATED])
    assert "make the few anew" in str(caught.value)
    with pytest.raises(SetupError, match=re.escape(log.full_name("channels.changed"))):
        await check_topics(log, [CHANNELS_CHANGED], consumed=[CREATED])


async def test_sizes_are_measured_when_asked_for(site: LogSite, log: EventLog) -> None:
    """A topic's size is that of its records, as far as its compression and Kafka's own bytes let one say."""
    assert all(place.size_bytes is None for place in (await log.topics())["messages.created"].placements)
    before = await sizes(log)
    await append(log, [record(CREATED, "일반", "x" * 10_000)] * 10)
    grown = sum(await sizes(log)) - sum(before)
    assert (grown == 100_060) if site.embedded else (100_000 <= grown <= 110_000)
    assert len(before) == 3


async def sizes(log: EventLog) -> list[int]:
    placements = (await log.topics(sizes=True))["messages.created"].placements
    return [place.size_bytes for place in placements if place.size_bytes is not None]


async def test_members_are_counted(log: EventLog) -> None:
    """A group has the members that joined and live; nobody has heard of the others."""
    assert await log.members("g") == 0
    first, second = await log.consumer("g", [CREATED]), await log.consumer("g", [CREATED])
    await first.poll(1, 0.1)

    async def two() -> bool:
        await asyncio.gather(first.poll(1, 0.1), second.poll(1, 0.1))
        return await log.members("g") == 2

    await until(two)
    await second.close()
    assert await log.members("g") == 1
    assert await log.members("nobody") == 0


async def test_topics_tell_how_they_are_kept(log: EventLog) -> None:
    """A topic's state has its clean-up, retention and offsets; names are without the prefix."""
    await log.apply_topics([NOTIFICATIONS_SENT], 1)
    await (await log.producer()).send([record(NOTIFICATIONS_SENT, "u", str(n)) for n in range(3)])
    states = await log.topics()
    assert {name: (s.cleanup, s.retention_ms, s.tombstones_ms) for name, s in states.items()} == {
        "messages.created": ("keep", None, None),
        "messages.state": ("compact", None, REPLAY_HORIZON_MS),
        "notifications.sent": ("expire", 30 * DAY_MS, None),
    }
    assert (states["notifications.sent"].earliest, states["notifications.sent"].end) == ((0,), (3,))


async def test_a_missing_topic_says_what_to_do(log: EventLog) -> None:
    """Consumers and readers cannot start without it; a producer tries again later."""
    with pytest.raises(SetupError, match=r"platform\.channels\.changed: run `maeari topics apply`"):
        await log.consumer("g", [CHANNELS_CHANGED])
    with pytest.raises(SetupError, match=r"channels\.changed"):
        await log.reader([CREATED, CHANNELS_CHANGED])
    with pytest.raises(Unavailable, match="run `maeari topics apply`"):
        await (await log.producer()).send([record(CHANNELS_CHANGED, "k")])


async def test_compaction_leaves_the_last_of_each_key_readable(site: LogSite, log: EventLog) -> None:
    """The last record of each key stays; on the file `compact` removes the others, and offsets stay."""
    producer = await log.producer()
    await producer.send([record(MESSAGES_STATE, f"k{n % 10}", str(n)) for n in range(100)])
    await producer.send([record(MESSAGES_STATE, "k0", None)])
    await log.compact(MESSAGES_STATE)
    reader = await log.reader([MESSAGES_STATE])
    records = await read_to_end(reader, max_records=3)
    assert len(records) == (10 if site.embedded else 101)
    last = {r.key: r.value for r in records}
    assert last == {"k0": None} | {f"k{n}": f"{90 + n}".encode() for n in range(1, 10)}
    assert sum(reader.positions().values()) == 101
    member = await log.consumer("g", [MESSAGES_STATE])
    assert len(await poll_until(member, len(records))) == len(records)
    await producer.send([record(MESSAGES_STATE, "k0", "back")])
    assert texts(await poll_until(member, 1)) == ["back"]


async def test_dropped_topics_are_gone_with_what_they_held(site: LogSite, log: EventLog) -> None:
    """drop_topics removes this prefix's topics and no others; made again they are empty, new to groups."""
    neighbour = site.open_neighbour()
    await neighbour.apply_topics(TOPICS, 1)
    await append(neighbour, [record(CREATED, "k", "theirs")])
    await append(log, [record(CREATED, "k", str(n)) for n in range(3)])
    member = await log.consumer("g", [CREATED])
    await member.commit(after(await poll_until(member, 3)))
    await member.close()
    await log.drop_topics()
    assert await log.topics() == {}
    with pytest.raises(SetupError, match=r"messages\.created: run `maeari topics apply`"):
        await log.reader([CREATED])
    await log.apply_topics(TOPICS, 3)
    assert set((await log.committed("g", [CREATED])).values()) == {0}
    await append(log, [record(CREATED, "k", "new")])
    assert texts(await poll_until(await log.consumer("g", [CREATED]), 1)) == ["new"]
    assert texts(await read_all(neighbour, CREATED)) == ["theirs"]
    await neighbour.drop_topics()
    assert set(await log.topics()) == {"messages.created", "messages.state"}
