"""Members of a group on a file: their life signs in trouble, and leaving a locked file."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from backbone.errors import Unavailable
from backbone.eventlog import embedded
from backbone.eventlog.applying import Refusal
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.embedded.consumer import EmbeddedConsumer, members_folder
from backbone.eventlog.embedded.liveness import LifeSign
from schemas.topics import DEAD_LETTERS, MESSAGES_CREATED
from tests.support.consuming import Effects, Texts
from tests.support.eventlog import poll_until, record, texts
from tests.support.parking import TOPICS, Member
from tests.support.waiting import until

CREATED = MESSAGES_CREATED


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "eventlog.sqlite3"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[EmbeddedEventLog]:
    opened = EmbeddedEventLog(path, "platform")
    await opened.apply_topics((*TOPICS, DEAD_LETTERS), 3)
    yield opened
    with suppress(OSError):
        await opened.close()


async def taken_for_dead(log: EmbeddedEventLog, path: Path) -> EmbeddedConsumer:
    """Return a member that the others have taken out: it was frozen for too long."""
    member = await log.consumer("g", [CREATED])
    await member.poll(10, 0.0)
    impatient = EmbeddedEventLog(path, "platform", session_timeout_s=-1.0)
    await (await impatient.consumer("g", [CREATED])).poll(10, 0.0)
    await impatient.close()
    return member


@contextmanager
def no_room_for_life_signs(path: Path) -> Iterator[None]:
    """Have every attempt to make a life sign fail during the block, as on a full disk."""
    folder, aside = members_folder(path), path.with_name("aside")
    folder.rename(aside)
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


async def test_a_member_that_cannot_come_back_writes_into_no_other_file(
    log: EmbeddedEventLog, path: Path
) -> None:
    """Given no room for a new life sign, its beats go nowhere else, and later it is a member again."""
    member = await taken_for_dead(log, path)
    with no_room_for_life_signs(path), pytest.raises(Unavailable, match="join"):
        await member.poll(10, 0.0)
    strangers = [(path.parent / f"stranger-{n}") for n in range(4)]
    descriptors = [os.open(each, os.O_RDWR | os.O_CREAT) for each in strangers]
    try:
        member.beat()
        assert [each.read_bytes() for each in strangers] == [b""] * 4
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    await (await log.producer()).send([record(CREATED, "k", "later")])
    async with asyncio.timeout(5):
        assert texts(await poll_until(member, 1)) == ["later"]


def test_a_life_sign_is_closed_once(tmp_path: Path) -> None:
    """After that it neither beats nor closes what has its number by now."""
    sign = LifeSign(tmp_path, "m")
    sign.close()
    stranger = os.open(tmp_path / "stranger", os.O_RDWR | os.O_CREAT)
    sign.beat()
    sign.close()
    assert os.fstat(stranger).st_size == 0
    os.close(stranger)


async def test_one_life_sign_in_trouble_leaves_the_others_alive(
    log: EmbeddedEventLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a member whose sign cannot be written, those that came after it beat on."""
    monkeypatch.setattr(embedded, "BEAT_INTERVAL_S", 0.01)
    troubled, sound = await log.consumer("g", [CREATED]), await log.consumer("g", [CREATED])
    assert troubled._life._descriptor is not None
    os.close(troubled._life._descriptor)
    sign = members_folder(path) / sound._me.member_id
    seen: set[bytes] = set()

    async def beats() -> bool:
        seen.add(sign.read_bytes())
        return len(seen) > 3

    await until(beats, every_s=0.01)


async def test_progress_is_told_while_partitions_are_taken_over(log: EmbeddedEventLog, path: Path) -> None:
    """Asked for beside polls that take partitions over, it never fails."""
    member = await log.consumer("g", [CREATED])
    for _ in range(5):
        other_log = EmbeddedEventLog(path, "platform")
        other = await other_log.consumer("g", [CREATED])
        while not other.assignment.places:
            await member.poll(10, 0.0)
            await other.poll(10, 0.0)
        await other_log.close()
        polling = asyncio.create_task(member.poll(10, 0.0))
        while not polling.done():
            await member.progress()
        await polling
        assert (await member.progress()).keys() == member.assignment.places


async def test_a_member_stops_soon_while_the_file_is_locked(log: EmbeddedEventLog, path: Path) -> None:
    """Given another process that writes for long, a loop with a batch in hand stops within five seconds."""
    lock = sqlite3.connect(path, isolation_level=None)
    locked = asyncio.Event()

    async def then(_batch: Texts) -> Sequence[Refusal]:
        lock.execute("BEGIN IMMEDIATE")
        locked.set()
        return []

    one = Member(log, Effects())
    one.effects.then = then
    stop = asyncio.Event()
    running = asyncio.create_task(one.loop.run(stop))
    try:
        await (await log.producer()).send([record(CREATED, "k", "1")])
        await locked.wait()
        began_s = time.monotonic()
        stop.set()
        await running
        await one.loop.close()
        await log.close()
        assert time.monotonic() - began_s < 4.5
        assert list(members_folder(path).iterdir()) == []
    finally:
        lock.close()
