"""What was typed comes first, what must not occur is taken at its word, marks stand where the words do."""

import random

import pytest

from backbone.search import SearchIndex, SearchQuery
from tests.support.search import NOBODY, document, ids, stored

FILLER = ["자료", "일정", "공유", "참석", "안건", "정리", "내일", "오전", "확인", "준비", "장소", "변경"]


@pytest.mark.parametrize("word", ["회의", "결과", "추가", "속도", "서버를", "배포했습니다"])
async def test_the_word_as_it_was_typed_comes_first(search: SearchIndex, word: str) -> None:
    """Given a common word, and rare texts that hold what may be left of it, the word's own texts lead."""
    chance = random.Random(21)
    texts = [" ".join([*chance.sample(FILLER, 4), word, *chance.sample(FILLER, 3)]) for _ in range(40)]
    others = [" ".join(chance.sample(FILLER, 7)) for _ in range(100)]
    rare = [
        "제 3 회 해커톤 안내",
        "그 결 그대로 둡시다",
        "추 무게 측정",
        "속 시원하네요",
        "서버 점검",
        "배포",
    ]
    await stored(search, *(document(number, text) for number, text in enumerate([*texts, *others, *rare])))
    page = await search.search(SearchQuery(words=(word,)), NOBODY, 20)
    assert all(word in hit.source.content for hit in page.hits)


@pytest.mark.parametrize(
    ("content", "wanted", "unwanted"),
    [
        ("오후 세 시 미팅", "미팅", "시도"),
        ("할 수 있어요", "있어요", "수도"),
        ("제 3 회 해커톤", "해커톤", "회의"),
        ("배포 일정", "배포", "배포할때"),
        ("서버 점검", "점검", "서버에서"),
        ("배포 일정", "일정", "ㅂㅍ"),
        ("OrderService 점검", "점검", "service"),
        ("바뀐 일정", "일정", "바뀌었어요"),
        ("할 수 있어요", "있어요", "할수"),
    ],
)
async def test_what_must_not_occur_hides_nothing_else(
    search: SearchIndex, content: str, wanted: str, unwanted: str
) -> None:
    """A text that does not hold the very word is found."""
    await stored(search, document(1, content))
    assert await ids(search, SearchQuery(words=(wanted,), not_words=(unwanted,))) == {"msg_1"}


async def test_a_word_comes_before_what_it_is_a_part_of(search: SearchIndex) -> None:
    """Given a word and others that it is a part of, the word itself leads, and the part is marked in them."""
    texts = ["OrderService 재시작", "service 재시작", "PaymentService 점검", "the services"]
    await stored(search, *(document(number, text) for number, text in enumerate(texts)))
    page = await search.search(SearchQuery(words=("service",)), NOBODY, 9)
    assert page.hits[0].id == "msg_1"
    marked = {hit.id: hit.highlight["content"][0] for hit in page.hits}
    assert marked == {
        "msg_0": "Order<em>Service</em> 재시작",
        "msg_1": "<em>service</em> 재시작",
        "msg_2": "Payment<em>Service</em> 점검",
        "msg_3": "the <em>services</em>",
    }


async def test_half_typed_words_mark_nothing_else(search: SearchIndex) -> None:
    """Given a word that may still be being typed, other words with its initials are not marked."""
    await stored(search, document(1, "검색 결과를 강사가 봤다"))
    page = await search.search(SearchQuery(words=("검색",), begun_word="검색"), NOBODY, 1)
    assert page.hits[0].highlight["content"] == ("<em>검색</em> 결과를 강사가 봤다",)


async def test_texts_without_a_break_give_short_fragments(search: SearchIndex) -> None:
    """Given a text that is one word, a fragment is bounded all the same, and its marks are whole."""
    await stored(search, document(1, "ㅋ" * 20_000))
    page = await search.search(SearchQuery(words=("ㅋㅋㅋ",)), NOBODY, 1)
    for fragment in page.hits[0].highlight["content"]:
        assert len(fragment) <= 600
        assert fragment.count("<em>") == fragment.count("</em>") > 0
