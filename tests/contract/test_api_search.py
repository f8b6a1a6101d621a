"""The search route over real stores: rights, own writes, deletions, cursors, and what bad input gets."""

import pytest

from backbone.database.bounded import PAGE_MAX_BYTES
from backbone.database.tables import channel_members
from backend.consistency import ConsistencyToken
from tests.support.backend import user
from tests.support.searching import SearchableBackend, make_private


async def test_who_may_not(searchable: SearchableBackend) -> None:
    """What is said in a private channel is found by its members and by nobody else."""
    await make_private(searchable, "비밀", "철수")
    secret = await searchable.backend.post("비밀", "철수", "비밀 배포")
    await searchable.backend.post("공개", "철수", "공개 배포")
    await searchable.index()
    assert await searchable.found("배포") == ["공개 배포"]
    client = searchable.backend.client
    for who, hits in [("영희", {"공개 배포"}), ("철수", {"공개 배포", "비밀 배포"})]:
        answer = await client.get("/messages/search", params={"q": "배포"}, headers=user(who))
        assert {hit["_source"]["content"] for hit in answer.json()} == hits
    path = f"/messages/{secret['message_id']}"
    assert (await client.get(path)).status_code == 404
    assert (await client.get(path, headers=user("철수"))).status_code == 200


async def test_leaving_and_deleting_take_effect_with_the_index_behind(searchable: SearchableBackend) -> None:
    """The next search shows neither a deleted message nor a channel that was left; the page is refilled."""
    await make_private(searchable, "팀", "철수", "영희")
    gone = await searchable.backend.post("공개", "철수", "배포 하나")
    await searchable.backend.post("팀", "철수", "배포 둘")
    for n in range(5):
        await searchable.backend.post("공개", "철수", f"배포 나머지 {n}")
    await searchable.index()
    await searchable.backend.client.delete(f"/messages/{gone['message_id']}", headers=user("철수"))
    async with searchable.backend.ports.database.writing() as connection:
        await connection.execute(channel_members.delete().where(channel_members.c.user_id == "영희"))
    answer = await searchable.backend.client.get(
        "/messages/search", params={"q": "배포", "sort": "oldest", "limit": 4}, headers=user("영희")
    )
    contents = [hit["_source"]["content"] for hit in answer.json()]
    assert contents == [f"배포 나머지 {n}" for n in range(4)]


async def test_hits_are_elasticsearch_hits(searchable: SearchableBackend) -> None:
    """The bare array that a Node client reads: _index, _id, _score, _source, highlight."""
    message = await searchable.backend.post("개발", "철수", "배포를 완료했습니다", mentions=["영희"])
    await searchable.index()
    answer = await searchable.search("배포")
    [hit] = answer.json()
    assert set(hit) == {"_index", "_id", "_score", "_source", "highlight"}
    assert (hit["_id"], hit["_source"]["author"], hit["_source"]["channel"]) == (
        message["message_id"],
        "철수",
        "개발",
    )
    assert hit["_score"] > 0
    assert "<em>배포" in hit["highlight"]["content"][0]
    assert answer.headers["Total-Count"] == "1"


async def test_pages_follow_the_link(searchable: SearchableBackend) -> None:
    """`Link: rel="next"` leads through all hits, each once, in every order, while new ones arrive."""
    for n in range(7):
        await searchable.backend.post("c", "a", f"page {n}")
    await searchable.index()
    for sort in ("oldest", "newest", "relevance"):
        answer = await searchable.search("page", sort=sort, limit=3)
        seen = [hit["_id"] for hit in answer.json()]
        await searchable.backend.post("elsewhere", "a", "another")
        await searchable.index()
        while link := answer.headers.get("Link"):
            answer = await searchable.backend.client.get(link.split(">")[0].lstrip("<"))
            assert answer.status_code == 200
            seen += [hit["_id"] for hit in answer.json()]
        assert len(seen) == len(set(seen)) == 7, sort


async def test_own_writes(searchable: SearchableBackend) -> None:
    """With the token the search waits for the version, and says honestly when the time ran out."""
    body = {"channel_id": "c", "author_id": "a", "content": "token"}
    token = (await searchable.backend.client.post("/messages", json=body)).headers["Consistency-Token"]
    headers = {"Consistency-Token": token, "Prefer": "wait=0"}
    client = searchable.backend.client
    early = await client.get("/messages/search", params={"q": "token"}, headers=headers)
    assert (early.headers["Search-Complete"], early.json()) == ("false", [])
    await searchable.index()
    late = await client.get("/messages/search", params={"q": "token"}, headers=headers)
    assert (late.headers["Search-Complete"], len(late.json())) == ("true", 1)
    assert "Search-Complete" not in (await searchable.search("token")).headers
    bad = await client.get("/messages/search", params={"q": "x"}, headers={"Consistency-Token": "???"})
    assert bad.status_code == 400


async def test_a_token_tells_nothing_of_what_may_not_be_read(searchable: SearchableBackend) -> None:
    """A token of a private channel's message, deleted or not, is to outsiders like one of no message."""
    await make_private(searchable, "비밀", "철수")
    kept, gone = [await searchable.backend.post("비밀", "철수", text) for text in ("하나", "둘")]
    deleted = await searchable.backend.client.delete(f"/messages/{gone['message_id']}", headers=user("철수"))
    await searchable.index()
    tokens = [
        ConsistencyToken(kept["message_id"], 1).encode(),
        deleted.headers["Consistency-Token"],
        ConsistencyToken("msg_00000000-0000-7000-8000-000000000000", 1).encode(),
    ]
    for who, expected in [({}, [0, 0, 0]), (user("영희"), [0, 0, 0]), (user("철수"), [1, 1, 0])]:
        for token, complete in zip(tokens, expected, strict=True):
            headers = {**who, b"Consistency-Token": token.encode(), b"Prefer": b"wait=0"}
            client = searchable.backend.client
            answer = await client.get("/messages/search", params={"q": "하나"}, headers=headers)
            assert answer.headers["Search-Complete"] == ("true" if complete else "false"), (who, token)


@pytest.mark.parametrize("small", [0, 25])
async def test_pages_of_large_hits_end_by_size(searchable: SearchableBackend, small: int) -> None:
    """No answer is much over 1 MiB and twenty hits; `Link` leads through all of them, once.

    Not even where small hits come first, so that many more are taken at once.
    """
    content = "배포 " * 13_333
    for number in range(45):
        await searchable.backend.post("c", "a", "배포" if number < small else content)
    await searchable.index()
    answer = await searchable.search("배포", sort="oldest", limit=100)
    assert len(answer.json()) > small
    seen: list[str] = []
    while True:
        assert len(answer.content) < PAGE_MAX_BYTES + (1 if small else 20) * 120_000
        seen += [hit["_id"] for hit in answer.json()]
        link = answer.links.get("next")
        if link is None:
            break
        answer = await searchable.backend.client.get(link["url"])
    assert len(seen) == len(set(seen)) == 45


@pytest.mark.parametrize("query", ["q=a&q=b", "q=a&limit=1&limit=2", "q=a&sort=newest&sort=oldest"])
async def test_a_parameter_that_stands_there_twice(searchable: SearchableBackend, query: str) -> None:
    """Those that say one thing may stand there once."""
    answer = await searchable.backend.client.get(f"/messages/search?{query}")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=in:a in:b", {"a1", "a2", "b1"}),
        ("channel=a&in=b", {"a1", "a2", "b1"}),
        ("q=in:a in:b&channel=b&in=c", {"b1"}),
        ("q=in:a&channel=b", set()),
        ("q=-in:a&channel=a", set()),
        ("q=-in:a&channel=a&channel=b", {"b1"}),
        ("q=from:kim in:a&author=lee", set()),
        ("q=from:kim from:lee&author=lee&channel=a", {"a2"}),
    ],
)
async def test_parameters_narrow_what_is_typed(
    searchable: SearchableBackend, query: str, found: set[str]
) -> None:
    """Given a page of one channel with a search box on it, what is typed there finds nothing of another."""
    for channel, author, content in [
        ("a", "kim", "a1"),
        ("a", "lee", "a2"),
        ("b", "kim", "b1"),
        ("c", "lee", "c1"),
    ]:
        await searchable.backend.post(channel, author, content)
    await searchable.index()
    answer = await searchable.backend.client.get(f"/messages/search?{query}")
    assert {hit["_source"]["content"] for hit in answer.json()} == found
    assert answer.headers["Total-Count"] == str(len(found))


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "q"),
        ({"q": "  "}, "q"),
        ({"q": "x", "limit": "0"}, "limit"),
        ({"q": "x", "limit": "101"}, "limit"),
        ({"q": "x", "limit": "0000001009999"}, "limit"),
        ({"q": "x", "limit": "9" * 5_000}, "limit"),
        ({"q": "x", "limit": "١"}, "limit"),
        ({"q": "x", "cursor": "damaged"}, "cursor"),
        ({"q": "x", "sort": "best"}, "sort"),
        ({"q": "x", "after": "yesterday"}, "after"),
    ],
)
async def test_bad_parameters_are_named(
    searchable: SearchableBackend, parameters: dict[str, str], field: str
) -> None:
    """Each wrong parameter is a 400 that names it."""
    answer = await searchable.backend.client.get("/messages/search", params=parameters)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("q", "hits"),
    [
        ("AND OR NOT", 1),
        ("from:", 1),
        ("a\x00b", 1),
        ("before:2026-99-99 x", 1),
        ("before:2026-99-99 y", 0),
        ("((", 0),
        ("*:*", 0),
        ("-", 0),
        ("{!!}", 0),
    ],
)
async def test_a_syntax_error_is_searched_as_words(searchable: SearchableBackend, q: str, hits: int) -> None:
    """Words are found wherever they stand; punctuation is no word, and finds nothing."""
    content = "and or not, from a b before 2026-99-99 x"
    await searchable.backend.post("c", "a", content)
    await searchable.index()
    assert await searchable.found(q) == [content] * hits


@pytest.mark.parametrize("q", ['"', '""', "“ ”"])
async def test_a_query_without_any_word_is_bad(searchable: SearchableBackend, q: str) -> None:
    """Nothing to search for is a 400 that names `q`."""
    answer = await searchable.search(q)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "q")
