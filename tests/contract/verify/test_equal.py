"""Stores that hold the same: nothing is named, whatever is written, indexed and archived meanwhile."""

import asyncio
import multiprocessing
import random
from dataclasses import replace

import msgspec
import pytest

from backbone.archive.settings import ArchiveSettings
from backbone.errors import SetupError
from backbone.eventlog import NewRecord
from rebuilder.verify import sweep
from rebuilder.verify.workers import Workers
from schemas.topics import DAY_MS, MESSAGES_STATE
from tests.support.verifying import Stage, under_load
from tests.support.waiting import until


async def test_equal_stores(stage: Stage) -> None:
    """Every store is counted, and the digests of each channel are the same."""
    report = await stage.verify()
    assert (report.outcome, report.exit_code, report.differences, report.problems) == ("equal", 0, (), ())
    stores = {store.name: store for store in report.stores}
    counts = {name: (each.channels, each.messages, each.deleted) for name, each in stores.items()}
    assert set(counts) == {"database", "log", "state", "index", "archive"}
    assert set(counts.values()) == {counts["database"]}
    assert counts["database"][1] == len(stage.users.posted)
    for digests in report.digests.values():
        assert digests["database"] == digests["log"] == digests["archive"] == digests["state"]
        assert digests["index"] == digests["log_as_indexed"] != digests["log"]
    assert report.not_compared == ()


async def test_an_empty_system(empty: Stage) -> None:
    report = await empty.verify()
    assert (report.outcome, report.exit_code) == ("equal", 0)
    assert {(each.name, each.messages) for each in report.stores} == {
        (name, 0) for name in ("database", "log", "state", "index", "archive")
    }
    assert [each.note for each in report.stores if not each.compared] == ["not archived"]


async def test_without_an_archive(stage: Stage) -> None:
    stage.forget_archive()
    report = await stage.verify()
    assert report.outcome == "equal"
    assert [each.name for each in report.stores if not each.compared] == ["archive"]


async def test_under_live_writes_nothing_is_named(stage: Stage) -> None:
    """Given posts, edits and deletions, a relay, an indexer and an archiver without a pause."""
    before = len(stage.users.posted)
    async with under_load(stage):
        for _ in range(6):
            report = await stage.verify()
            assert (report.differences, report.differing_messages, report.damaged) == ((), 0, ())
            assert (report.exit_code, report.unapplied_messages) == (0, 0)
    assert len(stage.users.posted) > before
    await stage.settle()
    assert (await stage.verify()).outcome == "equal"


async def test_what_was_purged_long_ago_is_no_difference(stage: Stage) -> None:
    """Given an index without deleted messages, and a log without their states, eight days later."""
    eight_days = 8 * DAY_MS
    gone = [(key, doc.version) for key, doc in (await stage.platform.documents()).items() if doc.deleted]
    assert gone
    for message_id, _ in gone:
        channel = (await stage.document(message_id)).channel
        await stage.platform.append(NewRecord(MESSAGES_STATE.name, message_id, channel, None))
    assert (await stage.verify()).outcome == "equal", "tombstones of what is deleted"
    for message_id, _ in gone[:2]:
        await stage.forge_document(message_id, None)
    assert (await stage.verify(later_ms=eight_days)).outcome == "equal"
    report = await stage.verify()
    assert {(each.message_id, each.wrong) for each in report.differences} == {
        (message_id, ("index",)) for message_id, _ in gone[:2]
    }


async def test_partitions_in_processes_of_their_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given worker processes, they find the same as one process does, and bad records, too."""
    await stage.platform.append(NewRecord(MESSAGES_STATE.name, "msg_1", "ops", b"garbage"))
    alone = await stage.verify()
    monkeypatch.setattr(sweep, "WORTH_IT_RECORDS", 0)
    settings = replace(stage.settings, archive=ArchiveSettings(url=stage.storage.url, chosen=True))
    together = await stage.verify(workers=Workers(settings, 2))
    assert alone.problem_count == 1
    assert msgspec.structs.replace(together, seconds=0.0) == msgspec.structs.replace(alone, seconds=0.0)


async def test_a_worker_tells_what_is_wrong(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given workers that do not reach the log, the trouble is raised here."""
    monkeypatch.setattr(sweep, "WORTH_IT_RECORDS", 0)
    unknown = replace(stage.settings, topic_prefix="nobodys")
    with pytest.raises(ExceptionGroup) as raised:
        await stage.verify(workers=Workers(unknown, 2))
    assert raised.value.subgroup(SetupError) is not None


async def test_stores_that_are_behind_by_chance(stage: Stage) -> None:
    """Given that at random moments some is told, some indexed and some archived: nothing is ever named."""
    chance = random.Random(17)
    for _ in range(15):
        for work in (stage.users.tell, stage.platform.index_everything, stage.archive):
            if chance.random() < 0.6:
                await stage.users.act(chance.randrange(5))
            if chance.random() < 0.5:
                await work()
        report = await stage.verify(timeout_s=0.0)
        assert (report.differences, report.exit_code) == ((), 0)


async def test_workers_end_with_what_they_are_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a comparison that is given up while its workers are at work, none is left."""
    monkeypatch.setattr(sweep, "WORTH_IT_RECORDS", 0)
    verifying = asyncio.create_task(stage.verify(workers=Workers(stage.settings, 2)))

    async def at_work() -> bool:
        return bool(multiprocessing.active_children())

    await until(at_work)
    verifying.cancel()
    await asyncio.wait({verifying})
    assert verifying.cancelled()
    assert not multiprocessing.active_children()


async def test_what_a_rebuild_from_states_could_not_bring_back(stage: Stage) -> None:
    """Given a database without a message that was deleted long ago, whose channel was rebuilt from states."""
    gone = await stage.message(deleted=True)
    await stage.sql("DELETE FROM messages WHERE message_id = :id", id=gone.message_id)
    assert (await stage.verify(later_ms=8 * DAY_MS)).differing_messages == 1
    insert = "INSERT INTO missing_history (channel_id, up_to) VALUES (:channel, :up_to)"
    await stage.sql(insert, channel=gone.channel_id, up_to=gone.version)
    assert (await stage.verify(later_ms=8 * DAY_MS)).outcome == "equal"
    assert (await stage.verify()).differing_messages == 1, "not as long as its state must be there"
