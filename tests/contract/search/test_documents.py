"""The search port's documents: only a newer version replaces one, on both adapters alike."""

import asyncio
import random

import pytest

from backbone.search import IndexedDocument, SearchIndex, SearchQuery
from backbone.search.elasticsearch import bulk
from tests.support.search import SearchSite, document, ids, stored, tombstone
from tests.support.waiting import until


async def test_only_a_newer_version_replaces_a_document(search: SearchIndex) -> None:
    """Whatever the order: an older version and the same one again change nothing, and are no error."""
    await stored(search, document(1, "둘째", version=5))
    await stored(search, document(1, "첫째", version=2), document(1, "다른", version=5))
    assert await search.visible_version("msg_1") == 5
    assert await ids(search, SearchQuery(words=("둘째",))) == {"msg_1"}
    await stored(search, document(1, "셋째", version=6))
    assert await ids(search, SearchQuery(words=("둘째",))) == set()
    assert await ids(search, SearchQuery(words=("셋째",))) == {"msg_1"}


async def test_a_deleted_message_stays_deleted(search: SearchIndex) -> None:
    """Given a deletion that overtook the creation, the late creation finds the newer version there."""
    await stored(search, tombstone(1, version=9))
    await stored(search, document(1, "되살아난", version=3))
    assert await ids(search, SearchQuery(words=("되살아난",))) == set()
    assert await ids(search, SearchQuery(authors=("kim",), sort="newest")) == set()
    assert await search.visible_version("msg_1") == 9


async def test_one_batch_may_hold_a_message_twice(search: SearchIndex) -> None:
    """The newest version wins inside a batch as well."""
    await stored(search, document(1, "새것", version=4), document(1, "옛것", version=3))
    assert await ids(search, SearchQuery(words=("새것",))) == {"msg_1"}


async def test_writers_at_once_leave_the_newest_version(site: SearchSite) -> None:
    """Given four processes that put the same messages in different orders, the newest of each remains."""
    await site.open().ensure()
    chance = random.Random(5)
    newest = {number: chance.randint(5, 40) for number in range(50)}

    async def write() -> None:
        search = site.open()
        versions = [
            (number, version) for number in newest for version in (1, newest[number] - 3, newest[number])
        ]
        chance.shuffle(versions)
        for start in range(0, len(versions), 25):
            batch = [document(n, f"판 {v}", version=v) for n, v in versions[start : start + 25]]
            assert await search.put(batch) == []

    await asyncio.gather(*(write() for _ in range(4)))
    search = site.open()
    await search.refresh()
    found = {found async for found in search.scan()}
    assert found == {document(n, f"판 {version}", version=version) for n, version in newest.items()}


async def test_a_document_that_no_index_takes_is_named_and_the_rest_is_stored(search: SearchIndex) -> None:
    """Given a bad date, an endless id and an impossible version, their neighbours are stored."""
    refused = await search.put(
        [
            document(1),
            document(2, created_at="2026-13-45T99:00:00.000Z"),
            IndexedDocument("x" * 600, document(3).document),
            document(4, version=2**63),
            document(5, version=0),
            document(6),
        ]
    )
    await search.refresh()
    assert {failure.message_id for failure in refused} == {"msg_2", "x" * 600, "msg_4", "msg_5"}
    assert all(failure.reason for failure in refused)
    assert await ids(search, SearchQuery(authors=("kim",), sort="newest")) == {"msg_1", "msg_6"}


async def test_many_documents_are_put_and_scanned(search: SearchIndex, site: SearchSite) -> None:
    """Given more documents than one request or page holds, a scan yields each once, as it was put."""
    documents = [document(number, f"메시지 {number}") for number in range(2_300)]
    documents.append(tombstone(9_999, version=10_000))
    documents.append(
        document(
            8_888,
            "전부",
            author="김" * 128,
            channel="팀 배포",
            mentions=("lee", "@channel"),
            has_attachment=True,
            parent_id="msg_1",
            private=True,
        )
    )
    await stored(search, *documents)
    scanned = [found async for found in search.scan()]
    assert len(scanned) == len(documents)
    assert dict(scanned) == dict(documents)
    current = await search.current()
    assert len([found async for found in site.open().scan(current)]) == len(documents)


async def test_a_batch_larger_than_one_request_is_put_in_one_call(
    search: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies are split by size too, and a document that is larger than a body should be has its own."""
    monkeypatch.setattr(bulk, "BODY_MAX_BYTES", 5_000)
    documents = [document(n, "배포 완료 " * (1_000 if n == 7 else 40)) for n in range(40)]
    assert len(list(bulk.bodies(documents))) > 5
    await stored(search, *documents)
    assert len(await ids(search, SearchQuery(words=("배포",)))) == 40


async def test_the_visible_version_is_what_searches_see(search: SearchIndex) -> None:
    """It is None for an unknown message, and never ahead of what a search finds."""
    assert await search.visible_version("msg_1") is None
    assert await search.visible_version("없는/것 ?") is None
    await search.put([document(1, "나타남", version=7)])

    async def visible() -> bool:
        return await search.visible_version("msg_1") == 7

    await until(visible)
    assert await ids(search, SearchQuery(words=("나타남",))) == {"msg_1"}
