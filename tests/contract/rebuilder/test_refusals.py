"""An index that is not proved equal is never swapped in, and the report says why."""

import pytest

from backbone.errors import Unavailable
from backbone.eventlog import NewRecord
from rebuilder import patience
from rebuilder.search import lateness
from rebuilder.search import rebuild as rebuilder_search
from tests.support.histories import Platform, history
from tests.support.messaging import Talk, records_of
from tests.support.rebuilding import Meddling, rebuild

GARBAGE = NewRecord("messages.updated", "일반", "일반", b"\xffnot an event")


async def test_a_record_that_cannot_be_read_refuses_the_swap(platform: Platform) -> None:
    """It is named by its place; the live index stays, the new one is gone."""
    made = history(6, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.append(GARBAGE)
    before = await platform.search.current()

    report = await rebuild(platform)

    assert (report.outcome, report.exit_code, report.counts.problems) == ("refused", 1, 1)
    (problem,) = report.problems
    assert (problem.topic, problem.reason.partition(":")[0]) == ("messages.updated", "cannot be read")
    assert f"{problem.topic}/{problem.partition}/{problem.offset}" in "\n".join(report.lines())
    assert await platform.search.current() == before
    assert await platform.search.indices() == [before]
    assert await platform.documents() == made.expected
    dry = await rebuild(platform, dry_run=True)
    assert (dry.outcome, dry.exit_code) == ("dry run", 1)


async def test_two_contents_of_one_version_refuse_the_swap(platform: Platform) -> None:
    """An event and a state that say different things: nobody can tell which is right."""
    post, other = Talk().post("하나", message_id="msg_1"), Talk().post("둘", message_id="msg_1")
    await platform.append(records_of(post)[0], records_of(other)[1])
    report = await rebuild(platform)
    assert report.outcome == "refused"
    assert "msg_1 version 2 reads otherwise" in report.problems[0].reason


async def test_an_index_that_lost_a_message_is_not_swapped_in(platform: Platform) -> None:
    """Given a server that acknowledges a document and does not keep it, the proof finds the channel."""
    made = history(7, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    lost = next(id_ for id_, document in made.expected.items() if document.channel == "ops")
    before = await platform.search.current()
    report = await rebuild(platform, search=Meddling(platform.search, losing=lost))
    assert (report.outcome, report.differing_channels) == ("refused", ("ops",))
    assert await platform.search.indices() == [before]


async def test_a_document_that_the_index_refuses_is_named(platform: Platform) -> None:
    made = history(8, messages=5)
    await platform.tell(made.events)
    refused = next(iter(made.expected))
    report = await rebuild(platform, search=Meddling(platform.search, refusing=refused))
    assert report.outcome == "refused"
    assert report.problems[0].reason == "the index refused it: too strange"


@pytest.mark.parametrize("trouble", ["too many requests (429)", "no shard is there (503)"])
async def test_an_index_that_takes_nothing_for_long_refuses_the_swap(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Given a server that answers 429 or 503 all the time: how many were not taken, which, and why."""
    monkeypatch.setattr(patience, "PATIENCE_S", 0.3)
    made = history(14, messages=30)
    await platform.tell(made.events)
    await platform.index_everything()
    before = await platform.search.current()
    report = await rebuild(platform, search=Meddling(platform.search, down=trouble))
    assert (report.outcome, report.exit_code) == ("refused", 1)
    assert report.counts.problems == len(made.expected)
    assert report.reason is not None
    assert f"documents that the index did not take: {len(made.expected)}" in report.reason
    assert trouble in report.reason
    assert report.problems[0].reason == f"the index did not take it: {trouble}"
    assert trouble in "\n".join(report.lines())
    assert await platform.search.indices() == [before]
    assert await platform.documents() == made.expected


async def test_a_log_that_outgrows_the_swap_refuses_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given more in the last step than may be taken in its time, writes go on, and the alias stays."""
    monkeypatch.setattr(rebuilder_search, "HELD_MAX_S", 0.0)
    made = history(15, messages=10)
    await platform.tell(made.events)
    await platform.index_everything()
    before = await platform.search.current()

    async def more() -> None:
        await platform.tell(made.go_on(5))

    report = await rebuild(platform, search=Meddling(platform.search, in_hold=more))
    assert (report.outcome, report.counts.problems) == ("refused", 0)
    assert report.reason is not None
    assert "could not be moved, tried 3 times: the log grew by more" in report.reason
    await platform.index_everything()
    assert await platform.search.indices() == [before]
    assert await platform.documents() == made.expected


async def test_what_a_swap_in_vain_had_put_is_there_at_the_next_attempt(platform: Platform) -> None:
    """Given a log that fails as the alias is to be moved, the rebuild tries again, and nothing is missing."""
    made = history(16, messages=10)
    await platform.tell(made.events)
    await platform.index_everything()
    failed = 0

    async def more() -> None:
        await platform.tell(made.go_on(5))

    async def fail_once() -> None:
        nonlocal failed
        failed += 1
        if failed == 1:
            raise Unavailable("search", "just now")

    report = await rebuild(platform, search=Meddling(platform.search, in_hold=more, before_move=fail_once))
    assert (report.outcome, failed) == ("swapped", 2)
    assert await platform.documents() == made.expected


async def test_a_dry_run_changes_nothing(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """It compares the log with the live index, says where they differ, and how late it is."""
    monkeypatch.setattr(lateness, "APPLIED_WITHIN_S", 0.5)
    made = history(10, messages=30)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.search.refresh()
    before, live = await platform.search.indices(), await platform.documents()
    same = await rebuild(platform, dry_run=True)
    assert (same.outcome, same.index, same.counts.differing_channels, same.exit_code) == (
        "dry run",
        None,
        0,
        0,
    )
    await platform.tell([Talk("새 채널").post("아직 아무도 색인하지 않은 말")])
    differs = await rebuild(platform, dry_run=True)
    assert differs.differing_channels == ("새 채널",)
    assert differs.reason == "records that the indexer has yet to apply: 1"
    assert await platform.search.indices() == before
    assert await platform.documents() == live


async def test_a_deletion_that_compaction_took_away_is_not_overlooked(platform: Platform) -> None:
    """Given a message's text read before a compaction and its tombstone after it, state alone is refused.

    The events know of the deletion: read with them, the same log gives the right index.
    """
    talk = Talk()
    post = talk.post("gone", message_id="msg_1")
    gone, other = talk.delete("msg_1"), talk.post("stays", message_id="msg_2")
    tombstone = NewRecord("messages.state", "msg_1", post.payload.channel_id, None)
    await platform.append(*records_of(post), records_of(gone)[0], tombstone, *records_of(other))
    report = await rebuild(platform, "state")
    assert (report.outcome, report.exit_code) == ("refused", 1)
    assert report.reason is not None
    assert "and no deletion: 1 (msg_1)" in report.reason
    assert (await rebuild(platform)).outcome == "swapped"
    assert {id_: document.deleted for id_, document in (await platform.documents()).items()} == {
        "msg_1": True,
        "msg_2": False,
    }


async def test_a_rebuild_from_state_leaves_out_what_got_its_tombstone(platform: Platform) -> None:
    """A message that is only a tombstone by now is in no new index, and nothing is missing for that."""
    talk = Talk()
    stays = talk.post("stays", message_id="msg_2")
    await platform.append(NewRecord("messages.state", "msg_1", "c", None), *records_of(stays))
    report = await rebuild(platform, "state", told=1)
    assert report.outcome == "swapped"
    assert list(await platform.documents()) == ["msg_2"]
