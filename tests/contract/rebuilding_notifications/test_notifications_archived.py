"""Notifications rebuilt out of an archive, and of a log without its beginning."""

from pathlib import Path

import pytest

from backbone.archive.folder import FolderStorage
from backbone.archive.reading import Archive
from backbone.database.tables import inbox, inbox_counters
from backbone.eventlog import Reader
from backbone.settings import Settings
from rebuilder.archived import ArchivedLog
from rebuilder.notifications import reading as reading_module
from rebuilder.notifications.reading import TOPICS, Offsets, Reading
from rebuilder.notifications.rebuild import Ways
from schemas.topics import MESSAGE_TOPICS
from tests.contract.rebuilding_notifications.conftest import EVERYTHING, Office, lose, rebuild, rows_of
from tests.support.archive import archive_all
from tests.support.trimming import trim_all, trim_archived


async def test_the_past_comes_out_of_the_archive(office: Office, settings: Settings, tmp_path: Path) -> None:
    """Given a log that was trimmed up to its archive, all that is lost comes back with its numbers."""
    ports = office.backend.ports
    storage = FolderStorage(tmp_path / "archive")
    await archive_all(ports.eventlog, storage)
    archive = Archive(storage, ports.eventlog.full_name)
    assert await trim_archived(settings, archive, TOPICS) > 200
    await office.act(20)
    await office.notify()
    before = await rows_of(ports.database)
    await lose(ports.database, *EVERYTHING)
    log = ArchivedLog(ports.eventlog, archive, storage.url)
    report = await rebuild(office, Ways(source="archive"), log)
    assert (report.source, report.outcome, report.counts.renumbered) == ("archive", "put right", 0)
    assert report.beginnings == {}
    assert await rows_of(ports.database) == before


async def test_the_archive_may_grow_meanwhile(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an archive that comes to hold more than the log did at the start, what it held then is read."""
    ports = office.backend.ports
    storage = FolderStorage(tmp_path / "archive")
    await archive_all(ports.eventlog, storage)
    before = await rows_of(ports.database)
    read_to, grown = Reading._read_to, False

    async def growing(reading: Reading, reader: Reader, ends: Offsets) -> None:
        nonlocal grown
        if not grown:
            grown = True
            await office.act(40)
            await office.backend.relay()
            await archive_all(ports.eventlog, storage)
        await read_to(reading, reader, ends)

    monkeypatch.setattr(Reading, "_read_to", growing)
    monkeypatch.setattr(reading_module, "_STUCK_S", 10.0)
    archive = Archive(storage, ports.eventlog.full_name)
    report = await rebuild(office, Ways(source="archive"), ArchivedLog(ports.eventlog, archive, storage.url))
    assert (report.outcome, report.counts.renumbered, grown) == ("put right", 0, True)
    assert await rows_of(ports.database) == before


async def test_a_log_without_its_beginning_takes_nothing_away(office: Office, settings: Settings) -> None:
    """Given a log that was trimmed, inboxes stay as they are, and the report says where it begins."""
    database = office.backend.ports.database
    before = await rows_of(database, [inbox, inbox_counters])
    await trim_all(settings, MESSAGE_TOPICS)
    report = await rebuild(office)
    assert (report.outcome, report.counts.renumbered) == ("put right", 0)
    assert set(report.beginnings) <= {topic.name for topic in MESSAGE_TOPICS}
    assert report.beginnings
    assert await rows_of(database, [inbox, inbox_counters]) == before
