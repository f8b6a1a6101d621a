"""Rebuilding the database from the archive: table by table what was live, also when killed on the way."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from backbone.archive.folder import FolderStorage
from backbone.archive.layout import data_name
from backbone.archive.reading import Archive
from backbone.settings import Settings
from rebuilder.archived import ArchivedLog
from rebuilder.database.sources import EVENT_TOPICS
from rebuilder.database.ways import Ways
from schemas.topics import ALL_TOPICS, GROUP_ARCHIVER
from tests.contract.rebuilding_database.conftest import rebuild
from tests.contract.rebuilding_database.test_kills import variables
from tests.support.archive import archive_all
from tests.support.backend import Backend
from tests.support.eventlog import poll_until
from tests.support.trimming import trim_all, trim_archived
from tests.support.write_side import Users, lose, tables_of

ARCHIVE = Ways(source="archive")

_REBUILDS = """
import asyncio, os, signal, sys
from pathlib import Path
from backbone.archive.folder import FolderStorage
from backbone.archive.reading import Archive
from backbone.progress import Silent
from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder.archived import ArchivedLog
from rebuilder.database import loading, rebuild
from rebuilder.database.side import open_side
from rebuilder.database.sources import EventsSource

real, left = loading.store, [int(sys.argv[1])]

async def store(*arguments):
    await real(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

loading.store = store
loading.CHUNK_RECORDS = 10

async def main():
    async with open_ports(read_settings(dict(os.environ), dotenv=None)) as ports:
        archive = Archive(FolderStorage(Path(sys.argv[2])), ports.eventlog.full_name)
        source = EventsSource(ArchivedLog(ports.eventlog, archive, "the archive"))
        ways = rebuild.Ways(source="archive")
        async with open_side(ports.database, ways.into) as side:
            await rebuild.Rebuild(ports.database, side, source, ways, Silent()).run()

asyncio.run(main())
"""


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "archive")


def archived(backend: Backend, storage: FolderStorage) -> ArchivedLog:
    eventlog = backend.ports.eventlog
    return ArchivedLog(eventlog, Archive(storage, eventlog.full_name), storage.url)


async def trim_to_archive(backend: Backend, storage: FolderStorage, settings: Settings) -> None:
    archive = Archive(storage, backend.ports.eventlog.full_name)
    await trim_archived(settings, archive, EVENT_TOPICS)


async def test_what_the_log_lost_comes_back_table_by_table(
    backend: Backend, users: Users, storage: FolderStorage, settings: Settings
) -> None:
    """Given a log that was trimmed up to the archive, and events behind it, each table is as it was."""
    await archive_all(backend.ports.eventlog, storage)
    await trim_to_archive(backend, storage, settings)
    await users.act(40)
    await users.tell()
    before = await tables_of(backend.ports.database)
    await lose(backend.ports.database)
    report = await rebuild(backend, ARCHIVE, archived(backend, storage))
    assert (report.source, report.outcome, report.reason) == ("archive", "swapped", None)
    assert await tables_of(backend.ports.database) == before
    assert report.beginnings == {}


async def test_beside_a_live_one(backend: Backend, users: Users, storage: FolderStorage) -> None:
    """Given events that neither archive nor log has yet, nothing differs."""
    await archive_all(backend.ports.eventlog, storage, per_file=9)
    await users.act(40)
    before = await tables_of(backend.ports.database)
    report = await rebuild(backend, ARCHIVE, archived(backend, storage))
    assert (report.outcome, report.counts.differing_rows) == ("swapped", 0)
    assert await tables_of(backend.ports.database) == before


@pytest.mark.parametrize("dies_at", [1, 4, 9])
async def test_killed_it_goes_on_in_the_archive(
    backend: Backend, users: Users, storage: FolderStorage, settings: Settings, dies_at: int
) -> None:
    """Given a log without a past: killed while it loads, and resumed, it is whole, no event twice."""
    await archive_all(backend.ports.eventlog, storage, per_file=4)
    await trim_to_archive(backend, storage, settings)
    before = await tables_of(backend.ports.database)
    await lose(backend.ports.database)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _REBUILDS, str(dies_at), str(tmp(storage)), env=variables(settings)
    )
    assert await child.wait() == -signal.SIGKILL
    report = await rebuild(backend, Ways(source="archive", resume=True), archived(backend, storage))
    assert (report.outcome, report.reason, report.resumed) == ("swapped", None, True)
    assert await tables_of(backend.ports.database) == before


async def test_a_damaged_file_is_refused_and_resumed_once_it_is_whole(
    backend: Backend, users: Users, storage: FolderStorage
) -> None:
    """Given a file cut short it is named and nothing is swapped in; put back, `--resume` goes on."""
    await archive_all(backend.ports.eventlog, storage, per_file=9)
    before = await tables_of(backend.ports.database)
    path = [path for path in storage.list("") if data_name(path) and "messages.created" in path][-1]
    whole = (tmp(storage) / path).read_bytes()
    (tmp(storage) / path).write_bytes(whole[:-10])
    report = await rebuild(backend, ARCHIVE, archived(backend, storage))
    assert report.outcome == "refused"
    assert path in str(report.reason)
    assert await tables_of(backend.ports.database) == before
    (tmp(storage) / path).write_bytes(whole)
    resumed = await rebuild(backend, Ways(source="archive", resume=True), archived(backend, storage))
    assert (resumed.outcome, resumed.resumed) == ("swapped", True)


async def test_offsets_that_hold_no_record_are_no_gap(
    backend: Backend, users: Users, storage: FolderStorage, settings: Settings
) -> None:
    """Given an archiver that has come to the end, and a log without a record, its markers are not missed."""
    eventlog = backend.ports.eventlog
    await archive_all(eventlog, storage)
    count = len(await backend.told(*ALL_TOPICS))
    consumer = await eventlog.consumer(GROUP_ARCHIVER, ALL_TOPICS)
    await poll_until(consumer, count)
    states = await eventlog.topics()
    await consumer.commit(
        {place: states[place.topic].end[place.partition] for place in await consumer.progress()}
    )
    await consumer.close()
    before = await tables_of(backend.ports.database)
    await lose(backend.ports.database)
    await trim_all(settings, EVENT_TOPICS)
    report = await rebuild(backend, ARCHIVE, archived(backend, storage))
    assert (report.outcome, report.reason) == ("swapped", None)
    assert await tables_of(backend.ports.database) == before


async def test_a_trimmed_log_without_its_archive(
    backend: Backend, users: Users, storage: FolderStorage, settings: Settings
) -> None:
    """Given an archive that lacks what the log was trimmed of, the offsets are named, nothing is swapped."""
    await archive_all(backend.ports.eventlog, storage)
    await users.act(60)
    await users.tell()
    before = await tables_of(backend.ports.database)
    await trim_all(settings, EVENT_TOPICS)
    report = await rebuild(backend, ARCHIVE, archived(backend, storage))
    assert report.outcome == "refused"
    assert "are neither in the archive, which ends there, nor in the log" in str(report.reason)
    assert await tables_of(backend.ports.database) == before


def tmp(storage: FolderStorage) -> Path:
    return Path(storage.url.removeprefix("file://"))
