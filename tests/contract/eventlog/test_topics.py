"""Topics on every event log: made once, described, missed and compacted."""

import pytest

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import EventLog
from schemas.topics import CHANNELS_CHANGED, DAY_MS, MESSAGES_STATE, NOTIFICATIONS_SENT, REPLAY_HORIZON_MS
from schemas.topics import MESSAGES_CREATED as CREATED
from tests.support.eventlog import LogSite, after, append, poll_until, read_all, read_to_end, record, texts

TOPICS = (CREATED, MESSAGES_STATE)


async def test_topics_are_made_once(log: EventLog) -> None:
    """apply_topics says what it made, then nothing; it names what differs, and changes none of it."""
    assert await log.apply_topics(TOPICS, 3) == []
    lines = await log.apply_topics([*TOPICS, NOTIFICATIONS_SENT], 4)
    assert [line.split(":")[0] for line in lines] == [
        "notifications.sent",
        "messages.created",
        "messages.state",
    ]
    assert "made with 4 partitions" in lines[0]
    assert "has 3 partitions, wanted 4" in lines[1]
    assert (await log.topics())["messages.created"].partitions == 3


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
    with pytest.raises(SetupError, match=r"channels\.changed: run `maeari topics apply`"):
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
