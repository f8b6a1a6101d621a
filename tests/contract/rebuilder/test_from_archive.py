"""Rebuilding the search index from the archive: the same index, also of a log that was trimmed up to it."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from backbone.archive.folder import FolderStorage
from backbone.archive.layout import data_name
from backbone.archive.partition import PartitionArchive
from backbone.archive.reading import Archive
from backbone.eventlog import NewRecord
from backbone.progress import Silent
from backbone.settings import Settings
from rebuilder.archived import ArchivedLog, Unfit
from rebuilder.search.rebuild import rebuild_search
from rebuilder.search.report import Report
from rebuilder.search.ways import Ways
from schemas.topics import MESSAGE_TOPICS, MESSAGES_CREATED
from tests.contract.rebuilder.test_kills import MOMENTS, variables
from tests.support.archive import archive_all
from tests.support.histories import Platform, history
from tests.support.trimming import trim, trim_all


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "archive")


async def rebuild(platform: Platform, storage: FolderStorage, **ways: object) -> Report:
    log = ArchivedLog(platform.eventlog, Archive(storage, platform.eventlog.full_name), storage.url)
    await log.check()
    chosen = Ways(source="archive", **ways)  # type: ignore[arg-type]
    return await rebuild_search(log, platform.search, chosen, Silent())


async def test_what_the_log_lost_comes_out_of_the_archive(
    platform: Platform, storage: FolderStorage, settings: Settings
) -> None:
    """Given a log that begins where the archive ends, the index holds all, and the report says from where."""
    made = history(61)
    await platform.tell(made.events)
    await archive_all(platform.eventlog, storage)
    assert await trim_all(settings, MESSAGE_TOPICS) > 100
    await platform.tell(made.go_on(20))
    report = await rebuild(platform, storage)
    assert (report.source, report.outcome, report.reason) == ("archive", "swapped", None)
    assert await platform.documents() == made.expected
    assert report.counts.records == len(made.events)
    ends = {name: list(state.end) for name, state in (await platform.eventlog.topics()).items()}
    assert report.offsets == {topic.name: ends[topic.name] for topic in MESSAGE_TOPICS}


async def test_it_goes_on_in_the_log_where_the_archive_ends(
    platform: Platform, storage: FolderStorage
) -> None:
    """Given an archive that is behind, each record is read once, out of a file or out of the log."""
    made = history(62)
    await platform.tell(made.events)
    await archive_all(platform.eventlog, storage, per_file=7)
    await platform.tell(made.go_on(30))
    report = await rebuild(platform, storage)
    assert (report.outcome, report.counts.records) == ("swapped", len(made.events))
    assert await platform.documents() == made.expected


def damaged(storage: FolderStorage, folder: Path) -> str:
    path = next(path for path in storage.list("") if data_name(path))
    whole = folder / path
    whole.write_bytes(whole.read_bytes()[:-100])
    return path


def changed(storage: FolderStorage, folder: Path) -> str:
    path = next(path for path in storage.list("") if data_name(path))
    whole = folder / path
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    whole.write_bytes(data)
    return path


def gone(storage: FolderStorage, folder: Path) -> str:
    path = next(path for path in storage.list("") if data_name(path))
    (folder / path).unlink()
    name = data_name(path)
    assert name is not None
    return f"offsets {name.first} to {name.last} are not in the archive"


def forgotten(storage: FolderStorage, folder: Path) -> str:
    path = next(path for path in storage.list("_manifest") if "created" in path)
    (folder / path).unlink()
    return "the manifest knows nothing of them"


@pytest.mark.parametrize("harm", [damaged, changed, gone, forgotten])
async def test_a_file_that_is_not_what_it_was(
    platform: Platform, storage: FolderStorage, tmp_path: Path, harm: Callable[[FolderStorage, Path], str]
) -> None:
    """Given a file cut short, changed, gone, or a range that the manifest lost: refused, and it is named."""
    made = history(63)
    await platform.tell(made.events)
    await archive_all(platform.eventlog, storage, per_file=5)
    named = harm(storage, tmp_path / "archive")
    before = await platform.search.current()
    report = await rebuild(platform, storage)
    assert (report.outcome, report.exit_code) == ("refused", 1)
    assert named in str(report.reason)
    assert "maeari archive check" in str(report.reason)
    assert "\n" not in str(report.reason)
    assert (await platform.search.current(), await platform.search.indices()) == (before, [before])


async def test_a_gap_between_archive_and_log(
    platform: Platform, storage: FolderStorage, settings: Settings
) -> None:
    """Given a log that was trimmed further than the archive goes, the offsets that are nowhere are named."""
    made = history(64)
    await platform.tell(made.events)
    await archive_all(platform.eventlog, storage)
    ends = (await platform.eventlog.topics())[MESSAGES_CREATED.name].end
    await platform.tell(made.go_on(60))
    partition = next(number for number, end in enumerate(ends) if end)
    await trim(settings, partition, ends[partition] + 3)
    report = await rebuild(platform, storage)
    name = platform.eventlog.full_name(MESSAGES_CREATED.name)
    archived = Archive(storage, platform.eventlog.full_name).bounds(MESSAGES_CREATED.name, partition).end
    lost = f"{name}/{partition}: offsets {archived} to {ends[partition] + 2} are neither in the archive"
    assert report.outcome == "refused"
    assert lost in str(report.reason)


async def test_the_archive_of_another_log(platform: Platform, storage: FolderStorage) -> None:
    """Given an archive that is longer than the log, or reads otherwise at its end, nothing is read of it."""
    name = platform.eventlog.full_name(MESSAGES_CREATED.name)
    ours = history(65)
    await platform.tell(ours.events)
    await archive_all(platform.eventlog, storage)
    other = FolderStorage(Path(storage.url.removeprefix("file://")).parent / "other")
    await archive_all(platform.eventlog, other)
    log = ArchivedLog(platform.eventlog, Archive(other, platform.eventlog.full_name), other.url)
    reader = await log.reader((MESSAGES_CREATED,))
    records = await reader.read(1, 1.0)
    await reader.close()
    partition = PartitionArchive(other, name, records[0].partition)
    end = partition.refresh()
    partition.append([structs.replace(records[0], offset=end)], end)
    report = await rebuild(platform, other)
    assert report.outcome == "refused"
    assert f"{name}/{records[0].partition}: " in str(report.reason)
    assert "the archive of another log" in str(report.reason)
    await platform.append(NewRecord(MESSAGES_CREATED.name, records[0].key or "", records[0].key or "", b"{}"))
    report = await rebuild(platform, other)
    assert f"offset {end} reads otherwise in the log" in str(report.reason)


async def test_an_empty_archive_is_said_to_be_one(platform: Platform, storage: FolderStorage) -> None:
    await platform.tell(history(66, messages=3).events)
    with pytest.raises(Unfit, match="holds no events: see MAEARI_ARCHIVE_URL"):
        await rebuild(platform, storage)


_REBUILDS = """
import asyncio, os, signal, sys
from pathlib import Path
from backbone.archive.folder import FolderStorage
from backbone.archive.reading import Archive
from backbone.progress import Silent
from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder.search import target
from rebuilder.archived import ArchivedLog
from rebuilder.search.rebuild import rebuild_search
from rebuilder.search.ways import Ways
from tests.support.rebuilding import Meddling

async def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(ArchivedLog):
    async def reader(self, *arguments):
        reader = await super().reader(*arguments)
        real = reader._check_same
        async def dying(bounds):
            await real(bounds)
            await die()
        reader._check_same = dying
        return reader

async def main():
    moment = sys.argv[1]
    async with open_ports(read_settings(dict(os.environ), dotenv=None)) as ports:
        archive = Archive(FolderStorage(Path(sys.argv[2])), ports.eventlog.full_name)
        made = Dying if moment == "checked" else ArchivedLog
        search = Meddling(ports.search, **({} if moment == "checked" else {moment: die}))
        await rebuild_search(made(ports.eventlog, archive, ""), search, Ways(source="archive"), Silent())

target.DROP_GRACE_S = 0.0
asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["checked", *MOMENTS])
async def test_killed_at_a_phase(
    platform: Platform, storage: FolderStorage, settings: Settings, moment: str
) -> None:
    """Given a log without a past: killed, what is live is whole, and the next rebuild is done."""
    made = history(67)
    await platform.tell(made.events)
    await platform.index_everything()
    await archive_all(platform.eventlog, storage, per_file=9)
    await trim_all(settings, MESSAGE_TOPICS)
    folder = storage.url.removeprefix("file://")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _REBUILDS, moment, folder, env=variables(settings)
    )
    assert await child.wait() == -signal.SIGKILL
    assert await platform.documents() == made.expected
    await platform.tell(made.go_on(10))
    assert (await rebuild(platform, storage)).outcome == "swapped"
    assert await platform.documents() == made.expected
    assert len(await platform.search.indices()) == 2
