"""Shards that send as one: what comes together is one send, and whoever takes a shard ends that."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from backbone.errors import Unavailable
from backbone.eventlog import Fenced, NewRecord, RecordTooLarge
from backbone.health import Health
from backbone.relay import joint as joint_module
from backbone.relay import owned_shard
from backbone.relay.joint import JOINT_MAX_BYTES, Joint, JointProducer, NotSent
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
    """A producer that notes what it is sent, and takes nothing too large, nor anything while it fails."""

    def __init__(self) -> None:
        self.sends: list[list[str]] = []
        self.failure: Exception | None = None
        self.takes_s = 0.01
        self.closed = False

    async def send(self, records: Sequence[NewRecord]) -> None:
        await asyncio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
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


@pytest.mark.parametrize("failure", [Unavailable("eventlog", "on purpose"), KeyError("a defect")])
async def test_a_failure_is_of_those_under_way(failure: Exception) -> None:
    """Whatever it is, they hear of it; those who wait, or come later, hear that theirs was not sent."""
    listening = Listening()
    listening.failure = failure
    joint = JointProducer(listening)
    under_way = [asyncio.create_task(joint.send([record(key)])) for key in "ab"]
    await asyncio.sleep(0.006)
    waiting = asyncio.create_task(joint.send([record("c")]))
    told = await asyncio.gather(*under_way, waiting, return_exceptions=True)
    assert [type(each) for each in told] == [type(failure), type(failure), NotSent]
    listening.failure = None
    with pytest.raises(NotSent):
        await joint.send([record("d")])
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
    """Who waits is told that the shards send by themselves again."""
    listening = Listening()
    joint = JointProducer(listening)
    under_way = asyncio.create_task(joint.send([record("first")]))
    await asyncio.sleep(0.006)
    waiting = asyncio.create_task(joint.send([record("second")]))
    await asyncio.sleep(0)
    await joint.close()
    await under_way
    with pytest.raises(NotSent):
        await waiting
    assert (listening.sends, listening.closed) == ([["first"]], True)


async def test_closed_it_gives_up_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fate is not known; nothing goes on behind the closed producer."""
    monkeypatch.setattr(joint_module, "_SENT_WITHIN_S", 0.05)
    listening = Listening()
    listening.takes_s = 60
    joint = JointProducer(listening)
    under_way = asyncio.create_task(joint.send([record("first")]))
    await asyncio.sleep(0.006)
    await joint.close()
    with pytest.raises(Unavailable, match="under way"):
        await under_way
    assert (listening.sends, listening.closed) == ([], True)


async def test_a_shard_goes_on_by_itself_where_the_others_end(stores: Stores) -> None:
    """Rows that it has read already are told behind its own fence, without a new owner."""
    await put(stores.database, [Talk("c").post("x")])
    joint = Joint(stores.eventlog, "messages")
    shard, health = stores.shard_of("c"), Health("database")
    async with owned_shard(stores.database, stores.eventlog, "messages", shard, health, joint=joint) as owned:
        assert owned is not None
        joint.begin()
        await until(lambda: opened(joint))
        producer = joint.producer
        assert producer is not None
        chosen = owned._next_rows

        async def lost_meanwhile() -> Sequence[Any]:
            joint.end()
            return await chosen()

        owned._next_rows = lost_meanwhile  # type: ignore[method-assign]
        assert await owned.step() == 1
        assert not owned.sends_jointly
    await joint.settle()
    assert await nothing_left(stores.database)


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
