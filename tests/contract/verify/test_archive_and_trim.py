"""An archive that is damaged, behind, or knows more than the log; a log that was trimmed."""

import asyncio
from hashlib import sha256

import msgspec
import pytest

from backbone.archive.layout import data_name, entry_path
from backbone.archive.manifest import entries
from backbone.archive.parquet import from_parquet, to_parquet
from rebuilder.verify.report import NotCompared
from schemas.events import decode_message_event
from schemas.topics import MESSAGES_CREATED
from tests.support.trimming import trim
from tests.support.verifying import Stage


def first_file(stage: Stage, *, topic: str = "messages.created") -> tuple[str, int, int, int]:
    """Return the path of a file of the archive, its partition, and its first and last offset."""
    for path in stage.storage.list(""):
        name = data_name(path)
        if name is not None and name.topic.endswith(topic):
            return path, name.partition, name.first, name.last
    raise AssertionError("no file")


@pytest.mark.parametrize("how", ["truncated", "gone", "changed"])
async def test_a_damaged_file(stage: Stage, how: str) -> None:
    """The range is named, and no message: what cannot be read is not different."""
    path, partition, first, last = first_file(stage)
    file = stage.folder / path
    match how:
        case "truncated":
            file.write_bytes(file.read_bytes()[:-100])
        case "gone":
            file.unlink()
        case _:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)
    report = await stage.verify()
    assert (report.outcome, report.exit_code, report.differing_messages) == ("different", 1, 0)
    (damage,) = report.damaged
    assert (damage.topic, damage.partition) == ("messages.created", partition)
    assert (damage.first, damage.last) == (first, last)


async def test_a_missing_range(stage: Stage) -> None:
    """Given that the manifest knows nothing of some offsets, behind which there are others."""
    await stage.users.act(60)
    await stage.settle()
    full_name = stage.platform.eventlog.full_name("messages.created")
    path, partition, first, last = first_file(stage)
    (stage.folder / path).unlink()
    (stage.folder / entry_path(full_name, partition, first)).unlink()
    report = await stage.verify()
    (damage,) = report.damaged
    assert (damage.partition, damage.first, damage.last) == (partition, first, last)
    assert (report.exit_code, report.differing_messages) == (1, 0)


async def test_a_forged_file(stage: Stage) -> None:
    """Given a file whose content and entry were both made anew, the message is named."""
    path, partition, first, _ = first_file(stage)
    name = data_name(path)
    assert name is not None
    data = (stage.folder / path).read_bytes()
    records = [record for batch in from_parquet(data, name, name.topic) for record in batch]
    victim = records[0]
    body = msgspec.json.decode(victim.value or b"")
    body["payload"]["content"] = "forged"
    records[0] = msgspec.structs.replace(victim, value=msgspec.json.encode(body))
    forged = to_parquet(records, name)
    (stage.folder / path).write_bytes(forged)
    entry_file = stage.folder / entry_path(name.topic, partition, first)
    (entry,) = [each for each in entries(stage.storage, name.topic, partition) if each.first == first]
    entry = msgspec.structs.replace(entry, size_bytes=len(forged), sha256=sha256(forged).hexdigest())
    entry_file.write_bytes(msgspec.json.encode(entry))
    report = await stage.verify()
    newest = body["payload"]["message_id"] in {each.message_id for each in report.differences}
    # Where the message was changed later on the forged version is not its newest.
    assert newest == (report.differing_messages == 1)
    for each in report.differences:
        assert (each.wrong, each.stores["archive"].fields) == (("archive",), ("content",))


async def test_an_archive_that_is_behind(stage: Stage) -> None:
    """What is not archived yet is told by offsets, and is no difference."""
    await stage.users.act(30)
    await stage.users.tell()
    await stage.platform.index_everything()
    report = await stage.verify()
    assert (report.outcome, report.exit_code, report.differing_messages) == ("behind", 0, 0)
    behind = {each.name: each.behind for each in report.stores}
    assert behind["archive"] > 0 == behind["index"] == behind["log"]
    assert report.not_compared
    assert {(each.store, each.why) for each in report.not_compared} == {("archive", "not archived yet")}


async def test_an_index_that_is_behind(stage: Stage) -> None:
    """Given an indexer that stands still, its records are counted, and messages are not named."""
    await stage.users.act(30)
    await stage.users.tell()
    await stage.archive()
    report = await stage.verify(timeout_s=0.5)
    assert (report.outcome, report.exit_code, report.differing_messages) == ("behind", 0, 0)
    assert {each.name: each.behind for each in report.stores}["index"] > 0
    assert report.unapplied_messages > 0
    assert "index by" in list(report.lines())[-1]


async def test_a_log_that_is_behind(stage: Stage) -> None:
    """Given a relay that stands still, what the outbox holds is counted, and messages are not named."""
    await stage.users.act(30)
    report = await stage.verify(timeout_s=0.5)
    assert (report.outcome, report.exit_code, report.differing_messages) == ("behind", 0, 0)
    assert {each.name: each.behind for each in report.stores}["log"] > 0


async def trimmed(stage: Stage) -> tuple[int, int]:
    """Take the first half of a partition's creations from the log; return partition and offset."""
    records = await stage.backend.told(MESSAGES_CREATED)
    partition = records[0].partition
    theirs = [each.offset for each in records if each.partition == partition]
    before = theirs[len(theirs) // 2]
    await trim(stage.settings, partition, before)
    return partition, before


async def test_a_trimmed_log_without_an_archive(stage: Stage) -> None:
    """What the log no longer has is told by its offsets, and is no difference."""
    stage.forget_archive()
    partition, before = await trimmed(stage)
    report = await stage.verify()
    assert (report.outcome, report.exit_code, report.differences) == ("equal", 0, ())
    assert report.not_compared == (
        NotCompared(
            store="log",
            topic="messages.created",
            partition=partition,
            first=0,
            last=before - 1,
            why="the log no longer has them, nor has the archive",
        ),
    )


async def test_a_trimmed_log_still_shows_what_it_can(stage: Stage) -> None:
    """Given a row that was forged beyond what was trimmed, and one of a message that never was."""
    stage.forget_archive()
    await trimmed(stage)
    row = await stage.message(edited=True)
    await stage.sql("UPDATE messages SET content = 'forged' WHERE message_id = :id", id=row.message_id)
    report = await stage.verify()
    assert {each.message_id: each.wrong for each in report.differences} == {row.message_id: ("database",)}


async def test_what_the_log_no_longer_has_the_archive_shows(stage: Stage) -> None:
    """Given an archive of all, a trimmed log lacks nothing: a forged row of its past is found."""
    partition, before = await trimmed(stage)
    report = await stage.verify()
    assert (report.outcome, report.differences, report.not_compared) == ("equal", (), ())
    told = {each.key for each in await stage.backend.told(MESSAGES_CREATED)}
    assert told
    row = await stage.message(edited=False)
    await stage.sql("UPDATE messages SET content = 'forged' WHERE message_id = :id", id=row.message_id)
    report = await stage.verify()
    assert {each.message_id: each.wrong for each in report.differences} == {row.message_id: ("database",)}
    assert (partition, before) != (0, 0)


async def test_states_witness_what_neither_log_nor_archive_has(stage: Stage) -> None:
    """Given a trimmed log without an archive, a forged row of its past is not as its state says."""
    stage.forget_archive()
    first = decode_message_event((await stage.backend.told(MESSAGES_CREATED))[0].value or b"")
    await trimmed(stage)
    message_id = first.payload.message_id
    changed = "UPDATE messages SET author_id = 'forged' WHERE message_id = :id"
    await stage.sql(changed, id=message_id)
    report = await stage.verify()
    assert {each.message_id: each.wrong for each in report.differences} == {message_id: ("database",)}


async def test_an_index_that_catches_up_in_time(stage: Stage) -> None:
    """Given an indexer that is behind when the comparison begins, it is waited for."""
    await stage.users.act(30)
    await stage.users.tell()
    await stage.archive()
    verifying = asyncio.create_task(stage.verify())
    await asyncio.wait({verifying}, timeout=1.0)
    assert not verifying.done()
    await stage.platform.index_everything()
    report = await verifying
    assert (report.outcome, report.unapplied_messages) == ("equal", 0)
