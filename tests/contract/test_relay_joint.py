"""Shards that send as one: what comes together is one send, and whoever takes a shard ends that."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from backbone.errors import Unavailable
from backbone.eventlog import Fenced, NewRecord, RecordTooLarge
from backbone.health import Health
from backbone.relay import owned_shard
from backbone.relay.joint import JOINT_MAX_BYTES, Joint, JointProducer
from backbone.settings import Settings
from schemas.events import MessageCreated, MessagesEvent
from schemas.topics import MESSAGES_CREATED
from tests.support.eventlog import read_all
from tests.support.messaging import Talk
from tests.support.relaying import (
    Stores,
    last_versions,
    nothing_left,
    own_stores,
    owns,
    process,
    put,
    relaying,
    told_by_channel,
)
from tests.support.waiting import until


@pytest.fixture
async def stores(real_settings: Settings, unique: str) -> AsyncIterator[Stores]:
    async with own_stores(real_settings, unique) as opened:
        yield opened


class Listening:
    """A producer that notes what it is sent, and takes nothing that is too large, nor anything while down."""

    def __init__(self) -> None:
        self.sends: list[list[str]] = []
        self.down = False
        self.closed = False

    async def send(self, records: Sequence[NewRecord]) -> None:
        await asyncio.sleep(0.01)
        if self.down:
            raise Unavailable("eventlog", "down on purpose")
        self.sends.append([record.key for record in records])
        if any(record.key == "large" for record in records):
            raise RecordTooLarge("on purpose")

    async def close(self) -> None:
        self.closed = True


def record(key: str, size_bytes: int = 1) -> NewRecord:
    return NewRecord(MESSAGES_CREATED.name, key, key, b"x" * size_bytes, ())


async def test_what_comes_together_is_one_send() -> None:
    """In the order in which it came; what comes while that is under way is the next."""
    listening = Listening()
    joint = JointProducer(listening)
    first = [asyncio.create_task(joint.send([record(f"{n}a"), record(f"{n}b")])) for n in range(3)]
    await asyncio.sleep(0.006)
    second = [asyncio.create_task(joint.send([record(f"{n}c")])) for n in range(2)]
    await asyncio.gather(*first, *second)
    assert listening.sends == [["0a", "0b", "1a", "1b", "2a", "2b"], ["0c", "1c"]]


async def test_a_send_does_not_grow_beyond_what_a_slow_log_takes() -> None:
    """What does not fit is sent next, and what is larger alone by itself."""
    listening = Listening()
    joint = JointProducer(listening)
    sizes = {"a": JOINT_MAX_BYTES // 2, "b": JOINT_MAX_BYTES // 2, "c": 1, "d": JOINT_MAX_BYTES + 1, "e": 1}
    await asyncio.gather(*(joint.send([record(key, size)]) for key, size in sizes.items()))
    assert listening.sends == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_only_who_sent_what_is_too_large_hears_of_it() -> None:
    """The others' are told by themselves."""
    listening = Listening()
    joint = JointProducer(listening)
    told = await asyncio.gather(
        *(joint.send([record(key)]) for key in ("a", "large", "b")), return_exceptions=True
    )
    assert [type(each) for each in told] == [type(None), RecordTooLarge, type(None)]
    assert listening.sends == [["a", "large", "b"], ["a"], ["large"], ["b"]]


async def test_a_failure_is_everybody_s_and_for_good() -> None:
    """As with any fenced producer: another must be opened."""
    listening = Listening()
    listening.down = True
    joint = JointProducer(listening)
    told = await asyncio.gather(*(joint.send([record(key)]) for key in "ab"), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in told)
    listening.down = False
    with pytest.raises(Unavailable, match="on purpose"):
        await joint.send([record("c")])
    assert listening.sends == []


async def test_what_its_sender_has_left_is_not_sent() -> None:
    """A shard that was lost while its rows waited takes them along; the others' are sent."""
    listening = Listening()
    joint = JointProducer(listening)
    under_way = asyncio.create_task(joint.send([record("first")]))
    await asyncio.sleep(0.006)
    lost, kept = (asyncio.create_task(joint.send([record(key)])) for key in ("lost", "kept"))
    await asyncio.sleep(0)
    lost.cancel()
    await asyncio.gather(under_way, kept)
    assert listening.sends == [["first"], ["kept"]]


async def test_closed_it_ends_what_is_under_way() -> None:
    """Who waits is told that the shards send one by one again."""
    listening = Listening()
    joint = JointProducer(listening)
    under_way = asyncio.create_task(joint.send([record("first")]))
    await asyncio.sleep(0.006)
    waiting = asyncio.create_task(joint.send([record("second")]))
    await asyncio.sleep(0)
    await joint.close()
    await under_way
    with pytest.raises(Unavailable):
        await waiting
    assert (listening.sends, listening.closed) == ([["first"]], True)


async def opened(joint: Joint) -> bool:
    return joint.producer is not None


async def test_whoever_takes_a_shard_ends_the_joint_sends(stores: Stores) -> None:
    """What an owner of all has read is refused once any of its shards has another owner."""
    joint = Joint(stores.eventlog, "messages")
    joint.begin()
    await until(lambda: opened(joint))
    stale = joint.producer
    assert stale is not None
    await stale.send([record("before")])
    health = Health("database")
    async with owned_shard(stores.database, stores.eventlog, "messages", 1, health) as taken:
        assert taken is not None
        with pytest.raises(Fenced):
            await stale.send([record("after")])
    await joint.settle()
    assert [each.key for each in await read_all(stores.eventlog, MESSAGES_CREATED)] == ["before"]


async def test_an_owner_of_all_sends_few_times(stores: Stores) -> None:
    """Rows of all shards, stored at once, reach the log by one send; with another relay they are shared."""
    talks = [Talk(f"c{n}") for n in range(12)]
    sends: list[int] = []
    async with relaying(stores.settings) as alone:
        await until(lambda: owns(alone, stores.shards))
        joint = alone.relay._joint
        await until(lambda: opened(joint))
        real = joint.producer
        assert real is not None
        send = real._producer.send

        async def counted(records: Sequence[NewRecord]) -> None:
            sends.append(len(records))
            await send(records)

        real._producer.send = counted  # type: ignore[method-assign]
        await put(stores.database, [talk.post("x") for talk in talks])
        alone.relay.wake(range(stores.shards))
        await until(lambda: nothing_left(stores.database))
        assert sum(sends) == 2 * len(talks)
        assert len(sends) <= 2
        async with relaying(stores.settings) as other:
            await until(lambda: owns(other, stores.shards // 2))
            assert joint.producer is None
            await put(stores.database, [talk.post("x") for talk in talks])
            await until(lambda: nothing_left(stores.database))
        await until(lambda: owns(alone, stores.shards))
        await until(lambda: opened(joint))
    assert await told_by_channel(stores.eventlog) == {talk.channel_id: [2, 3] for talk in talks}


async def test_an_owner_of_all_that_froze_is_refused(stores: Stores) -> None:
    """Stopped while it sends for all shards and awake again later, it tells nothing behind its successor."""
    talks = [Talk(f"c{n}") for n in range(12)]
    posted = [talk.post("x") for talk in talks]
    with process(stores.settings) as victim:
        await put(stores.database, posted)
        await until(lambda: nothing_left(stores.database), within_s=20)
        for _ in range(20):
            await put(stores.database, edits(talks, posted))
        victim.send_signal(signal.SIGSTOP)
        async with relaying(stores.settings) as successor:
            await put(stores.database, edits(talks, posted))
            await until(lambda: nothing_left(stores.database), within_s=10)
            assert await owns(successor, stores.shards)
            victim.send_signal(signal.SIGCONT)
            await until(lambda: owns(successor, stores.shards // 2), within_s=20)
            await put(stores.database, edits(talks, posted))
            await until(lambda: nothing_left(stores.database))
    told = await told_by_channel(stores.eventlog)
    for talk in talks:
        assert sorted(set(told[talk.channel_id])) == list(range(2, 25))
    assert set((await last_versions(stores.eventlog)).values()) == {24}


def edits(talks: Sequence[Talk], posted: Sequence[MessageCreated]) -> list[MessagesEvent]:
    return [talk.edit(post.payload.message_id, "y") for talk, post in zip(talks, posted, strict=True)]
