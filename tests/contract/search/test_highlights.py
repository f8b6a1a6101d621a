"""The marks in the hits: the words that were asked for, in few fragments, on both adapters alike."""

import random

import pytest

from backbone.search import SearchIndex, SearchQuery
from backbone.search.analysis import Places, tokens
from tests.support.search import NOBODY, document, stored

# Of one sentence each, so that Elasticsearch, which cuts between sentences, shows texts of them whole.
_WORDS = """
배포 배포를 완료 완료했습니다 배포완료 서버 서버에서 밥 밥을 ㅋㅋㅋ ㅂㅍ
바꿔 바꿨어요 가가가가 바꾼 찾은 찾아서 할수 할 수 할수있다 앱 모바일앱을 디자인팀 팀
OrderService OrderService를 order services Service HTTPServer HTTP listAPIs userId user_id GitHub git
v2.3.1 deplo deploy Deployed deploys error errors running runs
co-op it's a_b a.b 3.14 14 x² naïve NAÏVE ＡＰＩ api API를 ｶﾞ ガ 東京 京都 🎉 👨‍👩‍👧 -
"""
VOCABULARY = _WORDS.split()


async def test_both_adapters_mark_the_same(embedded: SearchIndex, without_nori: SearchIndex) -> None:
    """Given short texts and queries drawn by chance, the fragments are equal, marks and all."""
    chance = random.Random(12)
    texts = [" ".join(chance.choices(VOCABULARY, k=chance.randint(1, 6))) for _ in range(120)]
    both = [embedded, without_nori]
    for search in both:
        await stored(search, *(document(number, text) for number, text in enumerate(texts)))
    for _ in range(100):
        phrases = tuple(" ".join(chance.choices(VOCABULARY, k=2)) for _ in range(chance.randint(0, 1)))
        words = tuple(chance.choices(VOCABULARY, k=chance.randint(1, 2)))
        begun = words[-1] if chance.random() < 0.5 else None
        query = SearchQuery(words, phrases, begun_word=begun)
        one, other = [
            {hit.id: hit.highlight for hit in (await search.search(query, NOBODY, 100)).hits}
            for search in both
        ]
        assert one == other, query


@pytest.mark.parametrize(
    ("content", "word", "fragments"),
    [
        ("열쇠 하나", "열쇠", 1),
        (f"{'앞에 놓인 말 ' * 50}열쇠 {'뒤에 놓인 말 ' * 50}", "열쇠", 1),
        (" ".join(f"열쇠 다른 말들이 여기 길게 놓여 있습니다 번호 {n}" for n in range(60)), "열쇠", 5),
        (". ".join(f"열쇠 다른 말들이 여기 길게 놓여 있습니다 번호 {n}" for n in range(60)), "열쇠", 5),
        ("열쇠 " * 10_000, "열쇠", 5),
        ("ab " * 13_000, "ab", 5),
    ],
)
async def test_fragments_are_few_and_short(
    search: SearchIndex, content: str, word: str, fragments: int
) -> None:
    """At most five, of about a hundred characters, in the order of the text, which they do not change."""
    await stored(search, document(1, content))
    (hit,) = (await search.search(SearchQuery(words=(word,)), NOBODY, 1)).hits
    found = hit.highlight["content"]
    assert len(found) == fragments
    at = 0
    for fragment in found:
        assert f"<em>{word}</em>" in fragment
        plain = fragment.replace("<em>", "").replace("</em>", "")
        assert len(plain) <= 120
        at = content.index(plain.strip(), at)


@pytest.mark.parametrize("words", [("가",), ("가가",), ("가" * 30, "가")])
async def test_a_text_of_one_syllable_is_marked_in_time(search: SearchIndex, words: tuple[str, ...]) -> None:
    """Given that every place of the text fits, each fragment begins where the one before it ended."""
    await stored(search, *(document(n, "가" * 40_000) for n in range(4)))
    page = await search.search(SearchQuery(words=words), NOBODY, 10)
    assert len(page.hits) == 4
    for hit in page.hits:
        assert 1 <= len(hit.highlight["content"]) <= 5
        assert all("<em>가가" in fragment for fragment in hit.highlight["content"])


def test_places_are_those_of_the_tokens() -> None:
    """Given any text, the place of a token is what cutting the whole text says, asked in any order."""
    chance = random.Random(13)
    pieces = [*VOCABULARY, *"ﾃﾞｰﾀ가나 다a.b🎉", " ", "x" * 300, "İ" * 200]
    for _ in range(500):
        text = "".join(chance.choices(pieces, k=chance.randint(0, 12)))
        found, places = tokens(text), Places(text)
        numbers = list(range(len(found)))
        chance.shuffle(numbers)
        for number in numbers:
            assert places.span(number) == (found[number].start, found[number].end), text
        assert places.span(len(found)) is None


async def test_words_far_behind_are_marked(search: SearchIndex) -> None:
    """Given long texts whose words stand at the end, beside texts that hold them at once, all are marked."""
    far = "앞에 놓인 말 " * 4_900
    await stored(
        search,
        document(1, f"{far}열쇠"),
        document(2, "열쇠"),
        document(3, f"{far}열쇠 {far[:1000]}"),
        document(4, f"열쇠 {far}"),
    )
    for sort in ("relevance", "newest"):
        page = await search.search(SearchQuery(words=("열쇠",), sort=sort), NOBODY, 3)
        rest = await search.search(SearchQuery(words=("열쇠",), sort=sort), NOBODY, 3, page.cursor)
        hits = [*page.hits, *rest.hits]
        assert len(hits) == 4
        for hit in hits:
            assert len(hit.highlight["content"]) == 1
            assert "<em>열쇠</em>" in hit.highlight["content"][0]
