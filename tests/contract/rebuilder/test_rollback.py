"""Going back to the index before: caught up with the log and proved first, then swapped as any other."""

import pytest

from backbone.eventlog import NewRecord
from indexer.projection import document_of_event
from rebuilder.search.target import NothingBefore
from tests.support.histories import Platform, history
from tests.support.messaging import Talk, records_of
from tests.support.rebuilding import SOURCES, Meddling, rebuild, swapped
from tests.support.search import document


@pytest.mark.parametrize("source", SOURCES)
async def test_it_brings_the_old_index_up_to_date(platform: Platform, source: str) -> None:
    """Given edits, deletions and posts since the swap, the old index has them all, and is live again."""
    made = history(21, messages=40)
    await platform.tell(made.events)
    await platform.index_everything()
    old = await platform.search.current()
    new = (await rebuild(platform)).index
    since = made.go_on(30)
    await platform.tell(since)
    await platform.index_everything()

    report = await rebuild(platform, source, rollback=True)  # type: ignore[arg-type]

    assert (report.outcome, report.exit_code, report.rollback) == ("swapped", 0, True)
    assert (report.index_before, report.index, report.kept) == (new, old, new)
    assert await platform.search.current() == old
    assert await platform.search.indices() == [old, new]
    assert await platform.documents() == made.expected


async def test_back_and_forth(platform: Platform) -> None:
    """A rollback of a rollback goes forth again, whatever was written in between."""
    made = history(22, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    first = await platform.search.current()
    second = (await rebuild(platform)).index
    for expected in (first, second, first):
        await platform.tell(made.go_on(5))
        await platform.index_everything()
        assert (await rebuild(platform, rollback=True)).index == expected
        assert await platform.search.current() == expected
        assert await platform.documents() == made.expected
    third = await rebuild(platform)
    assert (third.kept, third.dropped) == (first, (second,))


async def test_it_puts_only_what_is_newer(platform: Platform) -> None:
    """What the old index holds already is not sent again."""
    made = history(23, messages=30)
    await platform.tell(made.events)
    await platform.index_everything()
    await rebuild(platform)
    sent: list[str] = []

    class Watched(Meddling):
        async def put(self, documents, index=None):  # type: ignore[no-untyped-def]
            sent.extend(each.message_id for each in documents)
            return await super().put(documents, index)

    new = Talk("새 채널").post("그 뒤의 말")
    await platform.tell([new])
    report = await rebuild(platform, search=Watched(platform.search), rollback=True)
    assert report.outcome == "swapped"
    assert sent == [new.payload.message_id]


async def test_an_old_index_with_more_than_the_log_is_refused(platform: Platform) -> None:
    """Given a document that only the old index holds, the proof finds its channel; nothing is dropped."""
    made = history(24, messages=20)
    await platform.tell(made.events)
    await platform.index_everything()
    old = await platform.search.current()
    new = (await rebuild(platform)).index
    assert old is not None
    await platform.search.put([document(1, channel="유령")], old)
    report = await rebuild(platform, rollback=True)
    assert (report.outcome, report.exit_code, report.differing_channels) == ("refused", 1, ("유령",))
    assert await platform.search.current() == new
    assert await platform.search.indices() == [old, new]
    assert await platform.documents() == made.expected


async def test_what_the_log_has_forgotten_of_old_deletions_does_not_count(platform: Platform) -> None:
    """Given a deletion past the horizon that only the old index still holds, the rollback goes on."""
    talk = Talk()
    talk.post("gone", message_id="msg_1")
    gone, stays = talk.delete("msg_1"), talk.post("stays", message_id="msg_2")
    await platform.append(NewRecord("messages.state", "msg_1", "c", None), *records_of(stays))
    await platform.index_everything()
    old = await platform.search.current()
    assert old is not None
    await platform.search.put([document_of_event(gone)])
    await rebuild(platform, "state")
    refused = await rebuild(platform, "state", rollback=True)
    assert refused.differing_channels == ("c",)
    report = await rebuild(platform, "state", rollback=True, purged_before="2100-01-01T00:00:00.000Z", told=1)
    assert (report.outcome, report.index) == ("swapped", old)


async def test_without_an_index_before_there_is_nothing_to_go_back_to(platform: Platform) -> None:
    """Neither at first nor after a rebuild that dropped it; the live index stays."""
    with pytest.raises(NothingBefore, match="no index to go back to"):
        await rebuild(platform, rollback=True)
    report = await rebuild(platform, drop=True)
    with pytest.raises(NothingBefore):
        await rebuild(platform, rollback=True)
    assert await platform.search.indices() == [report.index]


async def test_it_may_drop_what_it_leaves(platform: Platform) -> None:
    await platform.tell(history(25, messages=5).events)
    old = await platform.search.current()
    new = (await rebuild(platform)).index
    report = await rebuild(platform, rollback=True, drop=True)
    assert (report.index, report.kept, report.dropped) == (old, None, (new,))


async def test_the_leftover_of_a_killed_rebuild_is_not_what_was_before(platform: Platform) -> None:
    """Given a half-filled index newer than both, a rollback drops it and goes back to the right one."""
    made = history(26, messages=10)
    await platform.tell(made.events)
    first = await platform.search.current()
    second = await platform.search.create_next()
    await swapped(platform.search, second)
    leftover = await platform.search.create_next()
    report = await rebuild(platform, rollback=True)
    assert report.index == first
    assert leftover not in await platform.search.indices()
    assert await platform.documents() == made.expected
    # … nor is the newer one of the two taken for a leftover by the rebuild that follows.
    refused = await rebuild(platform, search=Meddling(platform.search, losing=next(iter(made.expected))))
    assert refused.outcome == "refused"
    assert await platform.search.indices() == [first, second]
