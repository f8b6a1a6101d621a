"""`maeari export`: what the API answers, line by line, whatever it is read from."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from backbone.archive.folder import FolderStorage
from backbone.database.tables import missing_history
from backbone.errors import SetupError
from backbone.eventlog import NewRecord
from backbone.settings import Settings
from rebuilder import untold
from rebuilder.export import from_database, sorting
from rebuilder.export.command import run
from schemas.clock import format_ms, parse_ms
from schemas.events import decode_message_event, decode_stream_event
from schemas.topics import CHANNELS_CHANGED, MESSAGE_TOPICS, MESSAGES_UPDATED, STREAM_TOPICS
from tests.support.archive import archive_all
from tests.support.backend import Backend, user
from tests.support.trimming import trim, trim_all
from tests.support.write_side import CHANNELS, USERS, Users

SOURCES = ("database", "events", "archive")
OWNER = USERS[0]
FULL = Path("/dev/full")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_database, "_PAGE", 7)
    monkeypatch.setattr(from_database, "_PAGE_OF_THE_PAST", 5)


async def archive(backend: Backend, settings: Settings) -> None:
    await archive_all(
        backend.ports.eventlog, FolderStorage(Path(settings.archive.url.removeprefix("file://"))), per_file=20
    )


async def exported(
    settings: Settings, channel: str, source: str, folder: Path, as_of_ms: int | None = None
) -> list[dict[str, Any]]:
    path = folder / "exported.ndjson"
    assert await run(settings, channel, source, as_of_ms, path) == 0
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


async def answered(backend: Backend, users: Users, channel: str, moment: int) -> list[dict[str, Any]]:
    """Return what `GET /messages/{id}?as_of=` answers an owner, in the order of `sequence`."""
    found = []
    for _, message_id in users.posted:
        path, params = f"/messages/{message_id}", {"as_of": format_ms(moment)}
        answer = await backend.client.get(path, params=params, headers=user(OWNER))
        if answer.status_code == 200 and answer.json()["channel_id"] == channel:
            found.append(answer.json())
    return sorted(found, key=lambda message: message["sequence"])


async def live(backend: Backend, channel: str) -> list[dict[str, Any]]:
    """Return what `GET /channels/{id}/messages` lists, oldest first."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["sequence"] if found else 0
        params = {"after_sequence": str(after), "limit": "100"}
        answer = await backend.client.get(f"/channels/{channel}/messages", params=params, headers=user(OWNER))
        if not answer.json():
            return found
        found += answer.json()


async def times(backend: Backend) -> list[int]:
    records = await backend.told(*MESSAGE_TOPICS)
    return sorted(decode_message_event(record.value or b"").timestamp for record in records)


async def test_it_is_what_the_api_answers(
    backend: Backend, users: Users, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and at moments of events, from each source, public or private; what is alive is as it is listed."""
    monkeypatch.setattr(sorting, "RUN_BYTES", 2_000)
    await archive(backend, settings)
    moments = await times(backend)
    deleted = 0
    for channel in CHANNELS:
        listed = await live(backend, channel)
        for moment in (None, moments[-1], moments[len(moments) // 2], moments[len(moments) // 3] - 1):
            expected = await answered(backend, users, channel, moments[-1] if moment is None else moment)
            deleted += sum("deleted_at" in message for message in expected)
            for source in SOURCES:
                lines = await exported(settings, channel, source, tmp_path, moment)
                assert lines == expected, (channel, moment, source)
                if moment is None:
                    assert [line for line in lines if "deleted_at" not in line] == listed
    assert deleted


async def test_of_a_log_that_was_trimmed_the_archive_has_it(
    backend: Backend, users: Users, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a topic without its first records, what lacks is named and no file made; the archive has it."""
    expected = await exported(settings, "ops", "database", tmp_path)
    await archive(backend, settings)
    record = next(each for each in await backend.told(MESSAGES_UPDATED) if each.key == "ops")
    await trim(settings, record.partition, record.offset + 1, MESSAGES_UPDATED)
    output = tmp_path / "not there"
    assert await run(settings, "ops", "events", None, output) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    number = decode_message_event(record.value or b"").sequence
    assert line.startswith(f"maeari: channel 'ops': event {number} is missing")
    assert not output.exists()
    assert await exported(settings, "ops", "archive", tmp_path) == expected


async def test_records_that_come_twice_and_garbage_of_others(
    backend: Backend, users: Users, settings: Settings, tmp_path: Path
) -> None:
    """Given repeats, and what nobody can read under another key and even under this one, nothing changes."""
    expected = await exported(settings, "ops", "database", tmp_path)
    repeats = [record for record in await backend.told(*STREAM_TOPICS) if record.key == "ops"]
    again = [NewRecord(each.topic, "ops", "ops", each.value, each.headers) for each in reversed(repeats)]
    garbage = [NewRecord(MESSAGES_UPDATED.name, key, "ops", b"\xff garbage") for key in ("ops", "other")]
    producer = await backend.ports.eventlog.producer()
    await producer.send([*again, *garbage])
    await producer.close()
    assert await exported(settings, "ops", "events", tmp_path) == expected


@pytest.mark.parametrize("source", SOURCES)
async def test_what_is_not_there(
    backend: Backend, users: Users, settings: Settings, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    """Given an unknown channel, or a moment before the channel, it is one line and exit code 1."""
    await archive(backend, settings)
    assert await run(settings, "nowhere", source, None, None) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1].startswith("maeari: there is no channel 'nowhere' in the ")
    created = next(
        decode_stream_event(each.value or b"")
        for each in await backend.told(CHANNELS_CHANGED)
        if each.key == "ops"
    )
    assert await run(settings, "ops", source, created.timestamp - 1, None) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("maeari: channel 'ops' did not exist by ")
    assert line.endswith(f"it was made at {format_ms(created.timestamp)}")
    assert await run(settings, "ops", source, created.timestamp, None) == 0
    assert capsys.readouterr().out == ""


async def test_history_that_states_do_not_tell(
    backend: Backend, users: Users, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a database that was rebuilt from states, the past is refused as the API does."""
    async with backend.ports.database.writing() as connection:
        await connection.execute(insert(missing_history).values(channel_id="ops", up_to=9))
    assert await run(settings, "ops", "database", (await times(backend))[-1], None) == 1
    assert "its history up to event 9 is missing" in capsys.readouterr().err
    assert await run(settings, "ops", "database", None, None) == 0


async def test_what_the_log_has_yet_to_be_told(
    backend: Backend, users: Users, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a message in the outbox, a log that lacks it is not exported as if it were all."""
    monkeypatch.setattr(untold, "TOLD_WITHIN_S", 0.1)
    posted = await backend.post("ops", "bora", "아직")
    assert await run(settings, "ops", "events", None, tmp_path / "new") == 1
    moment = parse_ms(posted["created_at"]) - 1
    assert await exported(settings, "ops", "events", tmp_path, moment) == await exported(
        settings, "ops", "database", tmp_path, moment
    )
    assert not (tmp_path / "new").exists()


async def test_a_file_is_whole_or_as_it_was(
    backend: Backend, users: Users, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a failure on the way, the file before stays, and nothing lies beside it."""
    folder = tmp_path / "exports"
    folder.mkdir()
    path = folder / "ops.ndjson"
    path.write_text("before")
    await archive(backend, settings)
    await trim_all(settings, (MESSAGES_UPDATED,))
    assert await run(settings, "ops", "events", None, path) == 1
    assert (path.read_text(), list(folder.iterdir())) == ("before", [path])
    assert await run(settings, "ops", "database", None, path) == 0
    assert path.read_text() != "before"
    assert list(folder.iterdir()) == [path]
    assert await run(settings, "ops", "database", None, folder / "none" / "ops") == 1
    assert "No such file or directory" in capsys.readouterr().err.splitlines()[-1]


async def test_a_source_that_is_none(backend: Backend, settings: Settings) -> None:
    with pytest.raises(SetupError, match="--from 'state' is not one of database, events, archive"):
        await run(settings, "ops", "state", None, None)


async def test_a_disk_that_is_full(
    backend: Backend, users: Users, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a device that takes nothing, it is one line, and the device is what it was."""
    assert await run(settings, "ops", "database", None, FULL) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "maeari: --output /dev/full: No space left on device"
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
