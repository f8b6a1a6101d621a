"""The search port's queries: the same hits on Elasticsearch and in the embedded file."""

import random
from dataclasses import replace

from backbone.search import Rights, SearchIndex, SearchQuery, Sort
from tests.support.search import (
    MOMENT_MS,
    NOBODY,
    all_pages,
    document,
    ids,
    ids_of,
    stored,
)

SORTS: tuple[Sort, ...] = ("relevance", "newest", "oldest")


TEXTS = {
    1: "배포를 완료했습니다",
    2: "서버 배포 일정: 금요일 오후 3 시",
    3: "Deployed the new API server",
    4: "We are deploying it again, users' sessions stay",
    5: "점심은 밥을 먹자",
    6: "밥 먹었어?",
    7: "asyncio.gather raised a ValueError in user_service.py",
    8: "릴리스 🎉 축하합니다 👍🏽",
    9: "日本語のテスト ﾃﾞｰﾀ ＡＰＩ",
    10: "한국어와 English 를 섞은 message, version 3.14 released",
    11: "ㅋㅋㅋ 재밌다",
    12: "완료 보고서와 배포 계획",
}

FOUND: list[tuple[SearchQuery, set[int]]] = [
    (SearchQuery(words=("배포",)), {1, 2, 12}),
    (SearchQuery(words=("배포를",)), {1, 2, 12}),
    (SearchQuery(words=("완료",)), {1, 12}),
    (SearchQuery(words=("완료", "배포")), {1, 12}),
    (SearchQuery(words=("한국어",)), {10}),
    (SearchQuery(words=("국어",)), {10}),
    (SearchQuery(words=("배퐁",)), set()),
    (SearchQuery(words=("밥",)), {5, 6}),
    (SearchQuery(words=("ㅋㅋ",)), {11}),
    (SearchQuery(words=("deploy",)), {3, 4}),
    (SearchQuery(words=("DEPLOYING",)), {3, 4}),
    (SearchQuery(words=("server",)), {3}),
    (SearchQuery(words=("user",)), {4, 7}),
    (SearchQuery(words=("release",)), {10}),
    (SearchQuery(words=("asyncio.gather",)), {7}),
    (SearchQuery(words=("gather",)), {7}),
    (SearchQuery(words=("gather.asyncio",)), set()),
    (SearchQuery(words=("user_service",)), {7}),
    (SearchQuery(words=("3.14",)), {10}),
    (SearchQuery(words=("14.3",)), set()),
    (SearchQuery(words=("🎉",)), {8}),
    (SearchQuery(words=("👍🏽",)), {8}),
    (SearchQuery(words=("テスト",)), {9}),
    (SearchQuery(words=("データ",)), {9}),
    (SearchQuery(words=("api",)), {3, 9}),
    (SearchQuery(words=("한국어", "message")), {10}),
    (SearchQuery(words=("배포", "message")), set()),
    (SearchQuery(phrases=("배포를 완료",)), {1}),
    (SearchQuery(phrases=("완료 배포",)), set()),
    (SearchQuery(phrases=("새 배포",)), set()),
    (SearchQuery(phrases=("new API server",)), {3}),
    (SearchQuery(phrases=("new server",)), set()),
    (SearchQuery(phrases=("deploy",)), set()),
    (SearchQuery(phrases=("점심은 밥",)), {5}),
    (SearchQuery(words=("배포",), not_words=("완료",)), {2}),
    (SearchQuery(words=("배포",), not_phrases=("배포 계획",)), {1, 2}),
    (SearchQuery(not_words=("배포", "deploy", "밥"), sort="newest"), {7, 8, 9, 10, 11}),
    (SearchQuery(words=("...",)), set()),
    (SearchQuery(phrases=("!!! ---",)), set()),
    (SearchQuery(words=("배포", ":)", "!!!")), {1, 2, 12}),
    (SearchQuery(words=("배포",), not_words=("!!!",)), {1, 2, 12}),
    (SearchQuery(words=('"배포" OR * ) AND (',)), set()),
    (SearchQuery(words=("content:배포",)), set()),
    (SearchQuery(words=("배포*",)), {1, 2, 12}),
    (SearchQuery(words=("a" * 2_000,)), set()),
    (SearchQuery(words=tuple(f"낱말{number}" for number in range(500))), set()),
    (SearchQuery(words=("밥",), not_words=tuple(map(chr, range(0xAC00, 0xAC00 + 800)))), {5, 6}),
    (SearchQuery(words=("밥",), not_phrases=tuple(f"점심 {chr(0xAC00 + n)}" for n in range(400))), {5, 6}),
]


async def test_the_table_of_queries_finds_the_same_on_every_adapter(search: SearchIndex) -> None:
    """Words, their forms, parts of compounds, phrases, negation, code, emoji and nonsense."""
    await stored(search, *(document(number, text) for number, text in TEXTS.items()))
    wrong = [
        (query, found, expected)
        for query, expected in FOUND
        if (found := {int(hit.removeprefix("msg_")) for hit in await ids(search, query)}) != expected
    ]
    assert wrong == []


async def test_a_word_may_touch_a_word_of_another_script(search: SearchIndex) -> None:
    """`API` finds `API를`, `배포` finds `v2배포`: particles and units stand without a blank."""
    await stored(search, document(1, "API를 deploying했습니다"), document(2, "v2배포 10월3일에, 日本語API"))
    expected = {
        "deploy": {"msg_1": "API를 <em>deploying</em>했습니다"},
        "했습니다": {"msg_1": "API를 deploying<em>했습니다</em>"},
        "배포": {"msg_2": "v2<em>배포</em> 10월3일에, 日本語API"},
        "10월": {"msg_2": "v2배포 <em>10월</em>3일에, 日本語API"},
        "api": {
            "msg_1": "<em>API</em>를 deploying했습니다",
            "msg_2": "v2배포 10월3일에, 日本語<em>API</em>",
        },
    }
    found = {}
    for word in expected:
        page = await search.search(SearchQuery(words=(word,)), NOBODY, 9)
        found[word] = {hit.id: hit.highlight["content"][0] for hit in page.hits}
    assert found == expected


VOCABULARY = """
배포 배포를 완료 완료했습니다 완료됐어요 배포완료 서버 서버에서 서버실 밥 밥을 ㅋㅋㅋ ㅂㅍ ㅅㅂ
바꿔 바꿨어요 바꾸는 배ㅍ 섭 바꾼 바꾸기 찾은 찾아서 할수 할 수 수있다 할수있다 앱 모바일앱을 디자인팀 팀
OrderService OrderService를 order services Service HTTPServer HTTP listAPIs APIs userId user_id GitHub git
deploy Deployed deploys deplo error errors error. running runs v2 2.3 v2.3.1
東京에서 京앱 API배포완료 API배포 3개
co-op it's a_b a.b 3.14 14 x² naïve NAÏVE ＡＰＩ api ｶﾞ ガ 東京 京都 🎉 👨‍👩‍👧 ... -
"""


async def test_both_adapters_find_the_same(embedded: SearchIndex, without_nori: SearchIndex) -> None:
    """Given texts and queries drawn by chance, embedded and Elasticsearch give the same hits.

    With nori there are more, by morphemes.
    """
    chance = random.Random(11)
    words = VOCABULARY.split()
    texts = [" ".join(chance.choices(words, k=chance.randint(1, 6))) for _ in range(120)]

    def some(most: int) -> tuple[str, ...]:
        return tuple(chance.choices(words, k=chance.randint(0, most)))

    both = [embedded, without_nori]
    for search in both:
        await stored(search, *(document(number, text) for number, text in enumerate(texts)))
    for _ in range(150):
        wanted, phrases = (
            some(2),
            tuple(" ".join(chance.choices(words, k=2)) for _ in range(chance.randint(0, 1))),
        )
        begun = wanted[-1] if wanted and chance.random() < 0.5 else None
        query = SearchQuery(wanted, phrases, some(1), sort="newest", begun_word=begun)
        one, other = [await all_pages(search, query, 50) for search in both]
        assert ids_of(one) == ids_of(other), query
        assert one[0].total == other[0].total


async def test_operators_narrow_the_result(search: SearchIndex) -> None:
    """Authors, channels, mentions, attachments and moments, and what must not be."""
    await stored(
        search,
        document(1, author="kim", channel="팀 배포", mentions=("lee", "park")),
        document(2, author="lee", channel="general", has_attachment=True),
        document(3, author="Kim", channel="random", mentions=("lee",)),
    )
    at = MOMENT_MS
    cases: list[tuple[SearchQuery, set[str]]] = [
        (SearchQuery(authors=("kim",)), {"msg_1"}),
        (SearchQuery(authors=("kim", "lee")), {"msg_1", "msg_2"}),
        (SearchQuery(channels=("팀 배포",)), {"msg_1"}),
        (SearchQuery(channels=("팀",)), set()),
        (SearchQuery(mentions=("lee",)), {"msg_1", "msg_3"}),
        (SearchQuery(mentions=("lee", "park")), {"msg_1"}),
        (SearchQuery(has_attachment=True), {"msg_2"}),
        (SearchQuery(not_has_attachment=True), {"msg_1", "msg_3"}),
        (SearchQuery(not_authors=("kim",), not_channels=("random",)), {"msg_2"}),
        (SearchQuery(not_mentions=("park",)), {"msg_2", "msg_3"}),
        (SearchQuery(from_ms=at + 2_000), {"msg_2", "msg_3"}),
        (SearchQuery(until_ms=at + 2_000), {"msg_1"}),
        (SearchQuery(from_ms=at + 2_000, until_ms=at + 3_000), {"msg_2"}),
        (SearchQuery(from_ms=0, until_ms=0), set()),
        (SearchQuery(words=("안녕하세요",), authors=("kim",), channels=("general",)), set()),
    ]
    for query, expected in cases:
        for sort in SORTS:
            assert await ids(search, replace(query, sort=sort)) == expected, (query, sort)


async def test_rights_are_a_filter_of_every_query(search: SearchIndex) -> None:
    """A private channel is found by those to whom it is given, and by nobody else, words or none."""
    await stored(
        search,
        document(1, "비밀 배포", channel="secret", private=True),
        document(2, "공개 배포"),
        document(3, "다른 배포", channel="other", private=True),
    )
    for query in (SearchQuery(words=("배포",)), SearchQuery(not_words=("없음",), sort="oldest")):
        assert await ids(search, query) == {"msg_2"}
        assert await ids(search, query, Rights(("secret",))) == {"msg_1", "msg_2"}
        assert await ids(search, query, Rights(("secret", "other"))) == {"msg_1", "msg_2", "msg_3"}
    assert await ids(search, SearchQuery(channels=("secret",))) == set()


async def test_a_hit_carries_what_a_client_of_elasticsearch_reads(search: SearchIndex) -> None:
    """Index, id, score, source, and the words marked in the text."""
    await stored(search, document(1, "오늘 배포를 완료했습니다. We deployed it."))
    (hit,) = (await search.search(SearchQuery(words=("배포", "deploy")), NOBODY, 1)).hits
    assert hit.index == await search.current()
    assert (hit.id, hit.source) == document(1, "오늘 배포를 완료했습니다. We deployed it.")
    assert hit.score is not None
    assert hit.score > 0
    marked = " ".join(hit.highlight["content"])
    assert "<em>배포</em>를" in marked
    assert "<em>deployed</em>" in marked
    (sorted_hit,) = (await search.search(SearchQuery(authors=("kim",), sort="newest"), NOBODY, 1)).hits
    assert sorted_hit.score is None
    assert sorted_hit.highlight == {}


async def test_long_texts_are_highlighted_in_short_fragments(search: SearchIndex) -> None:
    """The fragments show where the words stand, not the whole text."""
    await stored(search, document(1, f"{'앞에 놓인 말 ' * 400}열쇠 {'뒤에 놓인 말 ' * 400}"))
    (hit,) = (await search.search(SearchQuery(words=("열쇠",)), NOBODY, 1)).hits
    (fragment,) = hit.highlight["content"]
    assert "<em>열쇠</em>" in fragment
    assert len(fragment) < 400


async def test_what_fits_better_comes_first(search: SearchIndex) -> None:
    """Relevance: the word that makes up the text before the word among many."""
    filler = [document(number, "다른 이야기를 합니다") for number in range(10, 20)]
    await stored(search, document(1, "긴 글 " * 50 + "배포"), document(2, "배포"), *filler)
    page = await search.search(SearchQuery(words=("배포",)), NOBODY, 10)
    assert [hit.id for hit in page.hits] == ["msg_2", "msg_1"]
