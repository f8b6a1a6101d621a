"""The archiver: records through both logs into an archive, by members that come, go and freeze."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from archiver.drafts import DraftLimits
from archiver.service import Archiver
from backbone.archive import Storage
from backbone.archive.checking import LogBounds, Report, check
from backbone.archive.folder import FolderStorage
from backbone.archive.layout import data_name
from backbone.archive.partition import PartitionArchive
from backbone.clock import SystemClock
from backbone.errors import Unavailable
from backbone.eventlog import EventLog, NewRecord
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.embedded.storage import OFFSET_BITS
from backbone.health import Health
from schemas.events import MessageCreated, MessagesEvent
from schemas.topics import (
    ALL_TOPICS,
    GROUP_ARCHIVER,
    MESSAGES_CREATED,
    MESSAGES_STATE,
    USERS_ACTIVITY,
    partition_of,
)
from tests.conftest import ADAPTERS
from tests.support.archive import in_archive, in_log, some_records
from tests.support.eventlog import LogSite, append, log_site, record
from tests.support.messaging import Talk, tell
from tests.support.waiting import until

AT_ONCE = DraftLimits(max_bytes=1 << 20, max_age_s=0.0, total_bytes=1 << 22)
NEVER = DraftLimits(max_bytes=1 << 20, max_age_s=3600.0, total_bytes=1 << 22)


@dataclass
class Stage:
    """A log with its topics, an archive in a folder, and the archivers that the test opens."""

    site: LogSite
    log: EventLog
    storage: Storage
    health: Health = field(default_factory=lambda: Health("eventlog", "archive"))
    archivers: list[Archiver] = field(default_factory=list)

    def archiver(self, limits: DraftLimits = AT_ONCE, storage: Storage | None = None) -> Archiver:
        """Return another member of the group, as another process would be."""
        opened = Archiver(self.site.open(), storage or self.storage, SystemClock(), self.health, limits)
        self.archivers.append(opened)
        return opened

    async def archived(self, *archivers: Archiver, storage: Storage | None = None) -> None:
        """Step until the archive holds what the log holds, each record once and byte for byte."""
        expected = await in_log(self.log)
        async with asyncio.timeout(60):
            while in_archive(storage or self.storage, self.log) != expected:
                for archiver in archivers:
                    await archiver.step()

    async def check(self) -> Report:
        """Return what `maeari archive check` finds."""
        states = await self.log.topics()
        bounds = {
            (self.log.full_name(name), number): LogBounds(state.earliest[number], state.end[number])
            for name, state in states.items()
            for number in range(state.partitions)
        }
        return check(self.storage, bounds)

    def files(self) -> list[str]:
        return [path for path in self.storage.list("") if data_name(path)]


@pytest.fixture(params=ADAPTERS)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty stage."""
    async with log_site(request.getfixturevalue(f"{request.param}_settings")) as site:
        log = site.open()
        await log.apply_topics(ALL_TOPICS, 3)
        storage = FolderStorage(tmp_path / "archive")
        storage.prepare()
        stage = Stage(site, log, storage)
        yield stage
        for archiver in stage.archivers:
            await archiver.close()


def talk(number: int, posts: int) -> list[MessagesEvent]:
    """Return a conversation with edits and deletions."""
    told = Talk(f"채널 {number}")
    events: list[MessagesEvent] = []
    for each in range(posts):
        posted = told.post(f"배포 {each} deployed " * 3)
        events.append(posted)
        if each % 3 == 0:
            events.append(told.edit(posted.payload.message_id, f"고침 {each}"))
        if each % 5 == 0:
            events.append(told.delete(posted.payload.message_id))
    return events


async def anything(log: EventLog) -> None:
    """Append a record of each kind to every topic: garbage, tombstones, headers, no text, all keys."""
    await append(
        log,
        [
            NewRecord(topic.name, key, key, value, (("event_type", b"x"), ("b", b"\xff\x00")))
            for topic in ALL_TOPICS
            for key in ("c", "채널", "k" * 300)
            for value in (b"\xff garbage", b"", None, b'{"payload":[]}', b"[" * 5_000)
        ],
    )


async def transactions(log: EventLog, number: int) -> None:
    """Append by transactions, whose markers take offsets on Kafka."""
    producer = await log.producer("a fence of the archive's tests")
    for each in range(number):
        await producer.send([record(topic, f"k{each % 5}", str(each)) for topic in ALL_TOPICS])
    await producer.close()


async def test_all_that_the_log_holds(stage: Stage) -> None:
    """Every record of every topic, whatever it is, as the log holds it; the check has nothing to say."""
    await anything(stage.log)
    for number in range(5):
        await tell(stage.log, talk(number, 15))
    await transactions(stage.log, 20)
    archiver = stage.archiver()
    await stage.archived(archiver)
    report = await stage.check()
    assert report.findings == ()
    assert {each.topic for each in report.partitions} == {
        stage.log.full_name(each.name) for each in ALL_TOPICS
    }
    committed = await stage.log.committed(GROUP_ARCHIVER, ALL_TOPICS)
    for each in report.partitions:
        name = each.topic.removeprefix(stage.log.full_name(""))
        assert (
            committed[next(place for place in committed if (*place,) == (name, each.partition))] >= each.end
        )


async def test_what_others_write(stage: Stage) -> None:
    """A key that is no UTF-8, or none, a header without a value, any time: only Kafka takes such."""
    if stage.site.embedded:
        await append(stage.log, [record(MESSAGES_CREATED, "c")])
    else:
        servers = stage.site.settings.eventlog_url.removeprefix("kafka://")
        producer = AIOKafkaProducer(bootstrap_servers=servers)
        await producer.start()
        topic = stage.log.full_name(MESSAGES_CREATED.name)
        for key, timestamp_ms in ((b"\xff\xfe", 1), (None, 1_760_000_000_000), (b"", 1_500_000_000_000)):
            headers: list[Any] = [("none", None), ("empty", b"")]
            await producer.send_and_wait(
                topic, b"v", key, partition=1, timestamp_ms=timestamp_ms, headers=headers
            )
        await producer.stop()
        read = await in_log(stage.log)
        assert [each.key_bytes for each in read] == [b"\xff\xfe", None, b""]
        assert all(each.valueless_headers == (0,) for each in read)
    await stage.archived(stage.archiver())
    assert (await stage.check()).ok
    dates = [path.split("/")[1] for path in stage.files()]
    assert len(dates) == len(set(dates)) == (1 if stage.site.embedded else 3)


async def test_another_goes_on_where_the_files_end(stage: Stage) -> None:
    """Whatever a member had read and not archived is read again by the next one, and nothing else."""
    await tell(stage.log, talk(1, 20))
    first = stage.archiver()
    await stage.archived(first)
    await tell(stage.log, talk(2, 20))
    lazy = stage.archiver(NEVER)
    await first.close()
    while not await lazy.step():
        pass
    assert len(in_archive(stage.storage, stage.log)) < len(await in_log(stage.log))
    await lazy.close()
    await stage.archived(stage.archiver())
    assert (await stage.check()).ok


async def test_the_archive_decides_and_not_the_groups_offsets(stage: Stage) -> None:
    """Given an empty archive, and a group that has committed all, everything is archived."""
    await tell(stage.log, talk(1, 20))
    archiver = stage.archiver()
    await stage.archived(archiver)
    await archiver.close()
    elsewhere = FolderStorage(Path(f"{stage.storage.url.removeprefix('file://')}-2"))
    await stage.archived(stage.archiver(storage=elsewhere), storage=elsewhere)


async def test_holes_of_compaction_are_no_gaps(stage: Stage) -> None:
    """States that compaction took before they were read leave holes, which nobody misses."""
    states = [record(MESSAGES_STATE, f"k{number % 4}", str(number)) for number in range(40)]
    await append(stage.log, states)
    await stage.log.compact(MESSAGES_STATE)
    first = stage.archiver()
    await stage.archived(first)
    await append(stage.log, states)
    await stage.log.compact(MESSAGES_STATE)
    await first.close()
    second = stage.archiver()
    await append(stage.log, states[:1])

    async def all_read() -> bool:
        await second.step()
        report = await stage.check()
        return not sum(each.waiting or 0 for each in report.partitions)

    await until(all_read, within_s=30)
    assert (await stage.check()).findings == ()
    kept = {(each.partition, each.offset) for each in await in_log(stage.log)}
    assert kept <= {(each.partition, each.offset) for each in in_archive(stage.storage, stage.log)}


async def test_the_check_knows_what_is_not_archived_at_all(stage: Stage) -> None:
    """Given records and no archiver, all of them are waiting: nothing is damaged, and nothing is whole."""
    await append(stage.log, [record(MESSAGES_CREATED, "c", str(number)) for number in range(7)])
    report = await stage.check()
    assert (report.ok, report.findings) == (False, ())
    assert [(each.first, each.end, each.waiting) for each in report.partitions] == [(0, 0, 7)]


async def test_members_share_and_rebalance(stage: Stage) -> None:
    """Members come and go while records come in: each is in one file."""
    first = stage.archiver()
    members = [first]
    for number in range(4):
        await tell(stage.log, talk(number, 15))
        await asyncio.gather(*(member.step() for member in members))
        members.append(stage.archiver())
        await asyncio.gather(*(member.step() for member in members))
        if number == 2:
            await members.pop(0).close()
    expected = await in_log(stage.log)
    async with asyncio.timeout(60):
        while in_archive(stage.storage, stage.log) != expected:
            await asyncio.gather(*(member.step() for member in members))
    assert (await stage.check()).ok


async def test_a_member_that_was_overtaken(stage: Stage) -> None:
    """Another has archived a part of what it has in hand: it drops that, and archives the rest."""
    await append(stage.log, [record(MESSAGES_CREATED, "c", str(number)) for number in range(30)])
    member = stage.archiver(NEVER)
    while not await member.step():
        pass
    everything = [each for each in await in_log(stage.log) if each.topic == MESSAGES_CREATED.name]
    name = stage.log.full_name(MESSAGES_CREATED.name)
    other = PartitionArchive(stage.storage, name, everything[0].partition)
    other.append(everything[: other.refresh() + 12], other.end)
    await member.flush()
    async with asyncio.timeout(30):
        while in_archive(stage.storage, stage.log) != await in_log(stage.log):
            await member.step()
            await member.flush()
    assert (await stage.check()).ok


async def test_files_end_by_size_and_by_age(stage: Stage) -> None:
    """Large ones at once, small ones when the first record is old enough."""
    many = [record(MESSAGES_CREATED, "c", "x" * 1000) for _ in range(100)]
    await append(stage.log, many)
    member = stage.archiver(DraftLimits(max_bytes=20_000, max_age_s=3600, total_bytes=1 << 20))
    while len(stage.files()) < 6:
        await member.step()
    await append(stage.log, [record(MESSAGES_STATE, "c", "1")])
    soon = stage.archiver(DraftLimits(max_bytes=1 << 20, max_age_s=0.5, total_bytes=1 << 20))
    await member.close()
    await stage.archived(soon)
    report = await stage.check()
    assert report.ok
    assert sum(each.files for each in report.partitions) == len(stage.files()) == 8


async def test_memory_is_bounded(stage: Stage) -> None:
    """Many partitions and files that are never due: the largest are written when all together are full."""
    total = 100_000
    member = stage.archiver(DraftLimits(max_bytes=1 << 30, max_age_s=3600, total_bytes=total))
    for _ in range(10):
        await append(stage.log, [record(topic, key, "x" * 1_000) for topic in ALL_TOPICS for key in "abcde"])
    async with asyncio.timeout(60):
        while len(in_archive(stage.storage, stage.log)) < 300:
            await member.step()
    await member.flush()
    await stage.archived(member)
    assert (await stage.check()).ok


async def test_a_storage_that_is_down(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is committed, the probe says so, memory stays bounded; once it is back all is archived."""
    await tell(stage.log, talk(1, 20))

    def down(*_: Any) -> None:
        raise Unavailable("archive", "No space left on device")

    member = stage.archiver()
    with monkeypatch.context() as patched:
        patched.setattr(stage.storage, "put", down)
        stop = asyncio.Event()
        running = asyncio.create_task(member.run(stop))

        async def told() -> bool:
            return stage.health.readiness().dependencies["archive"] != "ok"

        await until(told)
        assert not stage.health.readiness().ready
        assert stage.files() == []
        assert set((await stage.log.committed(GROUP_ARCHIVER, ALL_TOPICS)).values()) <= {0}
    expected = await in_log(stage.log)

    async def well() -> bool:
        return in_archive(stage.storage, stage.log) == expected and stage.health.readiness().ready

    await until(well, within_s=30)
    stop.set()
    await running
    assert (await stage.check()).ok


async def test_stopping_archives_what_was_read(stage: Stage) -> None:
    """Asked to stop, a member writes what waits, due or not."""
    await tell(stage.log, talk(1, 20))
    expected = await in_log(stage.log)
    member, stop = stage.archiver(NEVER), asyncio.Event()
    running = asyncio.create_task(member.run(stop))

    async def all_read() -> bool:
        return member.waiting_records == len(expected)

    await until(all_read, within_s=30)
    assert stage.files() == []
    stop.set()
    await running
    assert in_archive(stage.storage, stage.log) == expected


async def trim(stage: Stage, before: int) -> None:
    """Have the log drop what lies before an offset in partition 0 of the activity."""
    if isinstance(stage.log, EmbeddedEventLog):
        names = stage.log._catalog.names
        id_ = next(id_ for id_, place in names.items() if (*place,) == (USERS_ACTIVITY.name, 0))

        def drop(connection: sqlite3.Connection) -> None:
            beyond = (id_ << OFFSET_BITS) + before
            connection.execute(
                "DELETE FROM records WHERE number >= ? AND number < ?", (id_ << OFFSET_BITS, beyond)
            )
            connection.execute("UPDATE partitions SET earliest = ? WHERE id = ?", (before, id_))

        await stage.log._storage.write(drop)
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.site.settings.eventlog_url.removeprefix("kafka://"))
    await admin.start()
    place = KafkaPartition(stage.log.full_name(USERS_ACTIVITY.name), 0)
    await admin.delete_records({place: RecordsToDelete(before)})
    await admin.close()


def in_partition_0(stage: Stage, count: int) -> list[NewRecord]:
    """Return records that lie in the partition 0 of the activity."""
    key = next(f"u{number}" for number in range(100) if partition_of(f"u{number}", 3) == 0)
    return [record(USERS_ACTIVITY, key, str(number)) for number in range(count)]


async def test_the_log_dropped_some_before_they_were_read(stage: Stage) -> None:
    """At the beginning the archive begins later; later on the check says which offsets lack."""
    await append(stage.log, in_partition_0(stage, 20))
    await trim(stage, 5)
    member = stage.archiver()
    await stage.archived(member)
    assert (await stage.check()).ok
    await member.close()
    await append(stage.log, in_partition_0(stage, 20))
    await trim(stage, 30)
    again = stage.archiver()
    async with asyncio.timeout(30):
        while (found := await stage.check()).partitions[0].end < 40:
            await again.step()
    assert [(each.kind, each.first, each.last) for each in found.findings] == [("missing", 20, 29)]


async def test_the_archive_of_another_log(stage: Stage) -> None:
    """A log that ends before the archive does is another one: nothing of it is mixed in, and it is said."""
    name = stage.log.full_name(MESSAGES_CREATED.name)
    for number in range(3):
        PartitionArchive(stage.storage, name, number).append(some_records(50), 0)
    await tell(stage.log, talk(1, 3))
    member = stage.archiver()

    async def refused() -> str:
        try:
            await member.step()
        except Unavailable as error:
            return str(error)
        return ""

    assert "this is the archive of another log; set MAEARI_ARCHIVE_URL" in await until(refused)


async def test_duckdb_reads_it_as_it_is(stage: Stage) -> None:
    """Columns that people ask for, with times that have a zone; the folder's other files are no data."""
    events = talk(7, 10)
    await tell(stage.log, events)
    await stage.archived(stage.archiver())
    folder = stage.storage.url.removeprefix("file://")
    name = stage.log.full_name(MESSAGES_CREATED.name)
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        rows = database.execute(
            "SELECT event_type, sequence, version, channel_id, message_id, author_id, content,"
            " epoch_ms(event_timestamp), decode(value), typeof(timestamp)"
            f" FROM '{folder}/{name}/*/*.parquet' ORDER BY sequence"
        ).fetchall()
    posted = [event for event in events if isinstance(event, MessageCreated)]
    assert [(each[1], each[6]) for each in rows] == [
        (event.sequence, event.payload.content) for event in posted
    ]
    assert rows[0][0] == "message.created"
    assert rows[0][2:6] == (
        posted[0].payload.version,
        "채널 7",
        posted[0].payload.message_id,
        posted[0].payload.author_id,
    )
    assert rows[0][7] == posted[0].timestamp
    assert '"content":"배포 0' in rows[0][8]
    assert rows[0][9] == "TIMESTAMP WITH TIME ZONE"
