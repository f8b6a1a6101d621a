"""The search port's purge of deleted messages, on both adapters alike."""

from backbone.search import IndexedDocument, SearchIndex, SearchQuery, Tombstone
from schemas.clock import format_ms
from tests.support.search import MOMENT_MS, SearchSite, document, ids, stored, tombstone


def deleted(number: int, at_s: int, version: int = 10) -> IndexedDocument:
    """Return the document of a message that was deleted so many seconds after the moment."""
    return tombstone(number, version, updated_at=format_ms(MOMENT_MS + at_s * 1_000))


async def scanned(search: SearchIndex) -> dict[str, int]:
    """Return the version of every document that the index holds."""
    await search.refresh()
    return {found.message_id: found.document.version async for found in search.scan()}


async def found_before(search: SearchIndex, at_s: int, limit: int = 100) -> list[Tombstone]:
    return await search.tombstones(MOMENT_MS + at_s * 1_000, limit)


async def test_what_was_deleted_long_ago_is_found(search: SearchIndex) -> None:
    """The first deletions first, at most so many, none of the moment itself, and nothing that lives."""
    await stored(
        search, document(1), deleted(2, 30), deleted(3, 10), deleted(4, 20), deleted(5, 40), document(6)
    )
    assert await found_before(search, 40) == [
        Tombstone("msg_3", 10),
        Tombstone("msg_4", 10),
        Tombstone("msg_2", 10),
    ]
    assert await found_before(search, 40, limit=2) == [Tombstone("msg_3", 10), Tombstone("msg_4", 10)]
    assert await found_before(search, 10) == []


async def test_what_is_purged_is_gone(search: SearchIndex, site: SearchSite) -> None:
    """Its document is in no scan any more, and whoever purges again, here or elsewhere, finds nothing."""
    await stored(search, document(1, "배포"), deleted(2, 1), deleted(3, 2), deleted(4, 99))
    tombstones = await found_before(search, 50)
    assert await search.purge(tombstones) == 2
    assert await scanned(search) == {"msg_1": 2, "msg_4": 10}
    assert await search.visible_version("msg_2") is None
    assert await found_before(search, 50) == []
    assert await site.open().purge(tombstones) == 0
    assert await search.purge([]) == 0
    assert await ids(search, SearchQuery(words=("배포",))) == {"msg_1"}


async def test_what_has_become_newer_stays(search: SearchIndex) -> None:
    """Given that a message's document is replaced between the look and the purge, it is not removed."""
    await stored(search, deleted(1, 1), deleted(2, 1), deleted(3, 1))
    tombstones = await found_before(search, 50)
    await search.put([deleted(2, 1, version=11), document(3, "배포", version=12)])
    assert await search.purge(tombstones) == 1
    assert await scanned(search) == {"msg_2": 11, "msg_3": 12}
    assert await ids(search, SearchQuery(words=("배포",))) == {"msg_3"}


async def test_a_message_that_lives_is_not_purged(search: SearchIndex) -> None:
    """Given an id and a version older than its document's, the document stays."""
    await stored(search, document(1, version=5))
    assert await search.purge([Tombstone("msg_1", 4), Tombstone("msg_9", 4)]) == 0
    assert await scanned(search) == {"msg_1": 5}


async def test_a_repeated_deletion_after_the_purge_is_purged_again(search: SearchIndex) -> None:
    """Given that the whole log is read again, what comes back goes again."""
    await stored(search, deleted(1, 1))
    assert await search.purge(await found_before(search, 50)) == 1
    await stored(search, deleted(1, 1, version=11))
    assert await search.purge(await found_before(search, 50)) == 1
    assert await scanned(search) == {}
