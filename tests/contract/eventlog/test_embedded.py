"""What only the event log on a file promises: many processes, kill -9, frozen members, expiry, bad files."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backbone.errors import SetupError, Unavailable
from backbone.eventlog.embedded import EmbeddedEventLog, storage
from schemas.topics import DAY_MS, MESSAGES_CREATED, MESSAGES_STATE, NOTIFICATIONS_SENT
from tests.support.eventlog import after, poll_until, read_to_end, record, texts

CREATED = MESSAGES_CREATED

MEMBER = """
import asyncio, sys
from pathlib import Path
from backbone.eventlog.embedded import EmbeddedEventLog
from schemas.topics import MESSAGES_CREATED
from tests.support.eventlog import poll_until

async def main():
    log = EmbeddedEventLog(Path(sys.argv[1]), "platform")
    member = await log.consumer("g", [MESSAGES_CREATED])
    batch = await poll_until(member, 2)
    print(len(batch), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

WRITER = """
import asyncio, sys
from pathlib import Path
from backbone.eventlog.embedded import EmbeddedEventLog
from schemas.topics import MESSAGES_CREATED
from tests.support.eventlog import record

async def main():
    log = EmbeddedEventLog(Path(sys.argv[1]), "platform")
    producer = await log.producer()
    n = 0
    while True:
        await producer.send([record(MESSAGES_CREATED, "k", f"{n}:{i}") for i in range(20)])
        print(n, flush=True)
        n += 1

asyncio.run(main())
"""


class Hand:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "데이터" / "eventlog.sqlite3"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[EmbeddedEventLog]:
    opened = EmbeddedEventLog(path, "platform")
    await opened.apply_topics([CREATED, MESSAGES_STATE, NOTIFICATIONS_SENT], 1)
    yield opened
    await opened.close()


def start(script: str, path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)


async def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def test_a_killed_member_is_replaced_at_once(log: EmbeddedEventLog, path: Path) -> None:
    """After kill -9 another process's member gets the partition, from the last commit, without a time-out."""
    await (await log.producer()).send([record(CREATED, "k", "1"), record(CREATED, "k", "2")])
    victim = start(MEMBER, path)
    try:
        assert await said(victim) == "2"
        member = await log.consumer("g", [CREATED])
        assert await member.poll(10, 0.3) == []
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    async with asyncio.timeout(2):
        assert texts(await poll_until(member, 2)) == ["1", "2"]


async def test_what_was_acknowledged_survives_a_kill(log: EmbeddedEventLog, path: Path) -> None:
    """A writer is killed in the middle: every acknowledged batch is there, whole, and none is torn."""
    writer = start(WRITER, path)
    try:
        acknowledged = -1
        while acknowledged < 20:
            acknowledged = int(await said(writer))
    finally:
        writer.kill()
        writer.wait()
    records = await read_to_end(await log.reader([CREATED]))
    batches = len(records) // 20
    assert batches > acknowledged
    assert texts(records) == [f"{n}:{i}" for n in range(batches) for i in range(20)]
    assert [r.offset for r in records] == list(range(batches * 20))


async def test_a_frozen_member_loses_its_partitions(path: Path, log: EmbeddedEventLog) -> None:
    """A member that gives no sign of life is replaced; its late commit is dropped, and it may come back."""
    await (await log.producer()).send([record(CREATED, "k", str(n)) for n in range(2)])
    impatient = EmbeddedEventLog(path, "platform", session_timeout_s=0.2)
    frozen = await impatient.consumer("g", [CREATED])
    batch = await poll_until(frozen, 2)
    heir = await impatient.consumer("g", [CREATED])
    taken = await poll_until(heir, 2)
    await frozen.commit(after(batch))
    assert set((await log.committed("g", [CREATED])).values()) == {0}
    await heir.commit(after(taken[:1]))
    await heir.close()
    assert texts(await poll_until(frozen, 1)) == ["1"]
    await impatient.close()


async def test_old_records_of_expiring_topics_go(path: Path) -> None:
    """Past its retention a record is dropped; offsets go on, and readers find the end."""
    clock = Hand()
    log = EmbeddedEventLog(path, "platform", now_ms=clock)
    await log.apply_topics([NOTIFICATIONS_SENT], 1)
    producer = await log.producer()
    await producer.send([record(NOTIFICATIONS_SENT, "u", "old")])
    clock.now_ms += 29 * DAY_MS
    await producer.send([record(NOTIFICATIONS_SENT, "u", "new")])
    await log.compact(NOTIFICATIONS_SENT)
    assert texts(await read_to_end(await log.reader([NOTIFICATIONS_SENT]))) == ["old", "new"]
    clock.now_ms += 2 * DAY_MS
    assert await log.apply_topics([NOTIFICATIONS_SENT], 1) == []
    assert [r.offset for r in await read_to_end(await log.reader([NOTIFICATIONS_SENT]))] == [1]
    state = (await log.topics())[NOTIFICATIONS_SENT.name]
    assert (state.earliest, state.end) == ((1,), (2,))
    clock.now_ms += 60 * DAY_MS
    await log.compact(NOTIFICATIONS_SENT)
    assert (await log.topics())[NOTIFICATIONS_SENT.name].earliest == (2,)
    assert await read_to_end(await log.reader([NOTIFICATIONS_SENT])) == []
    await log.close()


async def test_tombstones_go_past_the_replay_horizon(path: Path) -> None:
    """Compaction keeps a tombstone for seven days, then drops it; a topic kept for ever loses nothing."""
    clock = Hand()
    log = EmbeddedEventLog(path, "platform", now_ms=clock)
    await log.apply_topics([MESSAGES_STATE, CREATED], 1)
    await (await log.producer()).send(
        [record(topic, "k", value) for topic in (MESSAGES_STATE, CREATED) for value in ("1", None)]
    )
    for days, left in ((6, 1), (2, 0)):
        clock.now_ms += days * DAY_MS
        await log.compact(MESSAGES_STATE)
        await log.compact(CREATED)
        assert len(await read_to_end(await log.reader([MESSAGES_STATE]))) == left
    assert len(await read_to_end(await log.reader([CREATED]))) == 2
    await log.close()


async def test_every_start_compacts(log: EmbeddedEventLog) -> None:
    """`apply_topics` keeps the last record of each key of a compacted topic, and all of the others."""
    for n in range(3):
        await (await log.producer()).send(
            [record(topic, key, f"{key}{n}") for topic in (MESSAGES_STATE, CREATED) for key in "ab"]
        )
    assert await log.apply_topics([CREATED, MESSAGES_STATE], 1) == []
    assert texts(await read_to_end(await log.reader([MESSAGES_STATE]))) == ["a2", "b2"]
    assert len(await read_to_end(await log.reader([CREATED]))) == 6


async def test_prefixes_share_a_file_apart(log: EmbeddedEventLog, path: Path) -> None:
    """Topics of another prefix are other topics."""
    other = EmbeddedEventLog(path, "other")
    assert await other.topics() == {}
    await other.apply_topics([CREATED], 2)
    await (await other.producer()).send([record(CREATED, "k", "theirs")])
    assert await read_to_end(await log.reader([CREATED])) == []
    await other.close()


async def test_processes_may_open_a_new_file_at_once(path: Path) -> None:
    """Several that make the same file at the same moment all get it, with each topic once."""
    logs = [EmbeddedEventLog(path, "platform") for _ in range(8)]
    lines = await asyncio.gather(*(log.apply_topics([CREATED, MESSAGES_STATE], 3) for log in logs))
    assert sorted(map(len, lines)) == [0] * 7 + [2]
    for log in logs:
        await log.close()


@pytest.mark.parametrize("kind", ["folder", "text", "database", "below a file"])
async def test_an_unusable_file_is_one_line(tmp_path: Path, kind: str) -> None:
    """A path that can never be the log raises SetupError, which names it and the setting."""
    path = tmp_path / "log.sqlite3"
    match kind:
        case "folder":
            path.mkdir()
        case "text":
            path.write_text("not a database, but long enough to be looked at\n" * 100)
        case "database":
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE t (x)")
            connection.close()
        case _:
            path.write_text("")
            path /= "below"
    log = EmbeddedEventLog(path, "platform")
    for attempt in (log.producer(), log.topics(), log.consumer("g", [CREATED])):
        with pytest.raises(SetupError, match="MAEARI_EVENTLOG_URL") as caught:
            await attempt
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    await log.close()


@pytest.mark.parametrize("opened_before", [1, 2])
async def test_a_file_that_opens_by_half_is_unavailable(
    path: Path, monkeypatch: pytest.MonkeyPatch, opened_before: int
) -> None:
    """When one of the connections cannot be made, the others are closed; later it works."""
    connections: list[sqlite3.Connection] = []
    connect = storage._connect

    def failing(path: Path) -> sqlite3.Connection:
        if len(connections) == opened_before:
            raise sqlite3.OperationalError("too many open files")
        connections.append(connect(path))
        return connections[-1]

    log = EmbeddedEventLog(path, "platform")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_connect", failing)
        with pytest.raises(Unavailable, match="too many open files"):
            await log.topics()
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    assert await log.topics() == {}
    await log.close()


async def test_a_full_disk_is_unavailable(log: EmbeddedEventLog, path: Path) -> None:
    """When the file cannot grow a send raises Unavailable and writes nothing; later it works again."""
    producer = await log.producer()
    await log._storage.write(lambda c: c.execute("PRAGMA max_page_count = 20").fetchone())
    with pytest.raises(Unavailable, match="full"):
        await producer.send([record(CREATED, "k", "x" * 100_000), record(CREATED, "k", "y" * 100_000)])
    await log._storage.write(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert await read_to_end(await log.reader([CREATED])) == []
    await producer.send([record(CREATED, "k", "z")])
    assert [r.offset for r in await read_to_end(await log.reader([CREATED]))] == [0]


async def test_a_closed_log_is_unavailable(log: EmbeddedEventLog) -> None:
    """Whatever is asked of it after close raises Unavailable, not an error of the driver."""
    producer = await log.producer()
    await log.close()
    with pytest.raises(Unavailable):
        await producer.send([record(CREATED, "k")])
