"""Stores that hold the same: nothing is named, whatever is written, indexed and archived meanwhile."""

from backbone.eventlog import NewRecord
from schemas.topics import DAY_MS, MESSAGES_STATE
from tests.support.verifying import Stage, under_load


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
