"""A live index that has purged what was deleted long ago equals the log, as far as that can be compared."""

import pytest

from indexer.projection import document_of_event
from rebuilder.readers import Source
from rebuilder.search import lateness
from schemas.clock import format_ms
from schemas.events import MessageCreated
from tests.support.histories import Platform, history
from tests.support.messaging import MOMENT_MS, Talk
from tests.support.rebuilding import SOURCES, rebuild

LATER_MS = MOMENT_MS + 1_000_000


@pytest.mark.parametrize("source", SOURCES)
async def test_a_purged_index_does_not_differ(platform: Platform, source: Source) -> None:
    """Before the purge, halfway and after it: what is beyond the horizon is left out on both sides."""
    made = history(1)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.search.refresh()
    horizon = format_ms(LATER_MS)
    for limit in (0, 3, 1_000):
        if limit:
            assert await platform.search.purge(await platform.search.tombstones(LATER_MS, limit)) > 0
            await platform.search.refresh()
        report = await rebuild(platform, source, dry_run=True, purged_before=horizon)
        assert report.differing_channels == ()
    strict = await rebuild(platform, source, dry_run=True)
    assert strict.counts.differing_channels > 0, "without a horizon it would be seen"


async def test_a_deletion_within_the_horizon_must_be_there(platform: Platform) -> None:
    """Given that a deletion's document is missing which is not due yet, the channel differs."""
    talk = Talk("일반")
    posted = talk.post("지울 것")
    gone = talk.delete(posted.payload.message_id)
    await platform.tell([posted, gone])
    await platform.index_everything()
    await platform.search.refresh()
    await platform.search.purge(await platform.search.tombstones(LATER_MS, 10))
    await platform.search.refresh()
    earlier = await rebuild(platform, dry_run=True, purged_before=gone.payload.deleted_at)
    assert earlier.differing_channels == ("일반",)


async def test_a_deleted_message_that_came_back_is_seen(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the document of a message that was deleted beyond the horizon, the channel differs."""
    monkeypatch.setattr(lateness, "APPLIED_WITHIN_S", 0.5)
    talk = Talk("일반")
    posted = talk.post("지운 것")
    assert isinstance(posted, MessageCreated)
    await platform.tell([posted, talk.delete(posted.payload.message_id)])
    await platform.search.put([document_of_event(posted)])
    await platform.search.refresh()
    report = await rebuild(platform, dry_run=True, purged_before=format_ms(LATER_MS))
    assert report.differing_channels == ("일반",)


@pytest.mark.parametrize("source", SOURCES)
async def test_a_rebuild_brings_the_documents_back(platform: Platform, source: Source) -> None:
    """A fresh index holds every deletion again, and is compared with all of them."""
    made = history(2, messages=40)
    await platform.tell(made.events)
    await platform.index_everything()
    await platform.search.refresh()
    await platform.search.purge(await platform.search.tombstones(LATER_MS, 1_000))
    assert (await rebuild(platform, source)).outcome == "swapped"
    assert await platform.documents() == made.expected
