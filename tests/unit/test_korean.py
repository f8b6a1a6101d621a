"""Korean words without particles and endings, by initials, half typed; and the forms of verbs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.search import SearchQuery
from backbone.search.analysis import tokens
from backbone.search.korean.letters import (
    NO_FINAL,
    ending_in_finals,
    final_of,
    half_typed,
    initials,
    initials_sought,
    with_final,
)
from backbone.search.korean.nouns import bases
from backbone.search.korean.stems import COMMON_STEMS
from backbone.search.korean.verbs import stem_syllable, verb_forms
from backbone.search.readings import readings_of_word, readings_of_words

_NOUNS = """
    배포 서버 회의록 이미지 데이터베이스 완료했습니다 확인해요 로그인 파일 사진 주문 질문 버튼 회원 화면 버전
    시간 테이블 서울 모델 내일 알림 느낌 모임 시스템 이야기 분위기 계산기
"""

SYLLABLES = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("배포", ()),
        ("배포를", ("배포",)),
        ("서버에서도", ("서버에서", "서버")),
        ("사용자들이", ("사용자들", "사용자")),
        ("배포했습니다", ("배포",)),
        ("완료됐어요", ("완료",)),
        ("확인해주세요", ("확인",)),
        ("서버입니다", ("서버",)),
        ("API를", ("API",)),
        ("(배포를)?", ("(배포",)),
        ("밥을", ("밥",)),
        ("서버이", ()),
        ("회의", ()),
        ("결과", ()),
        ("속도", ()),
        ("추가", ()),
        ("배포중", ("배포",)),
        ("배포하겠습니다", ("배포",)),
        ("전문가", ()),
        ("경로로", ("경로",)),
        ("서울로", ("서울",)),
        ("통합", ()),
        ("deploy", ()),
    ],
)
def test_what_is_left_of_a_noun(word: str, left: tuple[str, ...]) -> None:
    """Particles in the form that fits the syllable before them, and the forms of 하다 and 되다."""
    assert bases(word) == left


@pytest.mark.parametrize(
    ("word", "some"),
    [
        ("바꿨어요", {"바꾸", "바꿔", "바꿨", "바꾼", "바꿀", "바꿉"}),
        ("고쳤습니다", {"고치", "고쳐", "고친"}),
        ("고치다", {"고치", "고쳐", "고쳤"}),
        ("만들었다", {"만들"}),
        ("기다렸는데", {"기다리", "기다려"}),
        ("아름다워요", {"아름답", "아름다우", "아름다워"}),
        ("가까워서", {"가깝", "가까운", "가까웠"}),
        ("빨라요", {"빠르", "빨랐"}),
        ("서둘렀어요", {"서두르", "서둘러"}),
        ("부탁드립니다", {"부탁드"}),
        ("끝났습니다", {"끝나", "끝난", "끝날"}),
        ("만들었", {"만들"}),
        ("지운", {"지우", "지워", "지웠", "지울"}),
        ("지우기", {"지우", "지워", "지운"}),
        ("지워진", {"지워지", "지워졌"}),
        ("지우다", {"지운", "지움"}),
        ("바뀐", {"바뀌", "바꼈"}),
        ("바꼈어요", {"바뀌", "바뀐"}),
        ("고칠", {"고치", "고쳤", "고친"}),
        ("보낸", {"보내", "보냈"}),
        ("만든", {"만들", "만드"}),
        ("만들어요", {"만든", "만듭"}),
        ("어려운", {"어렵", "어려웠"}),
        ("나쁜", {"나빠", "나빴"}),
        ("모았어요", {"모으", "모은"}),
        ("깨달은", {"깨닫"}),
        ("변하다", {"변하", "변해", "변했", "변한"}),
    ],
)
def test_the_forms_of_a_verb(word: str, some: set[str]) -> None:
    """What its other forms begin with, whichever is asked for."""
    assert some <= set(verb_forms(word))


@pytest.mark.parametrize(
    "noun",
    _NOUNS.split(),
)
def test_what_is_no_verb_has_no_forms(noun: str) -> None:
    """Nouns, and 하다 behind them, which is taken off instead."""
    assert verb_forms(noun) == ()


@pytest.mark.parametrize(
    ("word", "syllable"),
    [
        ("찾은", "찾"),
        ("찾았어요", "찾"),
        ("찾기", "찾"),
        ("읽어주세요", "읽"),
        ("없는", "없"),
        ("찾", None),
        ("받침", None),
    ],
)
def test_some_stems_of_one_syllable_tell_enough(word: str, syllable: str | None) -> None:
    """Those that begin hardly any other word, where an ending follows."""
    assert stem_syllable(word) == syllable


@pytest.mark.parametrize("stem", sorted(COMMON_STEMS))
def test_whichever_form_of_a_known_verb_is_asked_for_the_same_is_found(stem: str) -> None:
    """From the form in -다, in -기, and from those in a bare -ㄴ and -ㄹ."""
    found = set(verb_forms(f"{stem}다"))
    assert found
    assert set(verb_forms(f"{stem}기")) == found
    if final_of(stem[-1]) == NO_FINAL:
        for form in (stem[:-1] + with_final(stem[-1], final) for final in "ㄴㄹ"):
            assert set(verb_forms(form)) == found - {form}


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("ㅂㅍ", "ㅂㅍ"),
        ("ㄳ", "ㄱㅅ"),
        ("\u1107\u1111", "ㅂㅍ"),
        ("ㅂ", None),
        ("배ㅍ", None),
        ("ㅏㅏ", None),
    ],
)
def test_initials_are_letters_that_stand_for_themselves(word: str, letters: str | None) -> None:
    """Two and more consonants, also those that a keyboard has put into one."""
    assert initials_sought(word) == letters


@pytest.mark.parametrize(
    ("word", "sure"),
    [
        ("배ㅍ", ("배", "ㅂㅍ")),
        ("배폴", ("배포", "ㅂㅍㄹ")),
        ("쿠버넽", ("쿠버네", "ㅋㅂㄴㅌ")),
        ("뱊", ("배", "ㅂㅍ")),
        ("집", None),
        ("배포", None),
        ("deploㅍ", None),
    ],
)
def test_a_half_typed_word_says_what_is_sure(word: str, sure: tuple[str, str] | None) -> None:
    """Its beginning, and the initials of all of it; a syllable that is a word by itself is complete."""
    assert half_typed(word) == sure


@given(st.text(max_size=40))
def test_initials_leave_every_place_where_it_is(text: str) -> None:
    """Character for character, so that a match can be marked in the text."""
    assert len(initials(text)) == len(text)


@given(SYLLABLES)
def test_what_is_left_is_how_the_word_begins(word: str) -> None:
    """Nothing is invented: a base is a beginning, and shorter than the word."""
    assert all(word.startswith(base) and 0 < len(base) < len(word) for base in bases(word))


@given(st.text(max_size=30), st.booleans())
def test_any_word_has_a_bounded_number_of_readings(word: str, begun: bool) -> None:
    """Itself first; every part holds something that can be found; none where there is nothing to find."""
    readings = readings_of_word(word, begun=begun)
    assert bool(readings) == bool(tokens(word))
    assert len(readings) <= 40
    if readings:
        assert word.startswith(readings[0].parts[0].text)
    assert all(tokens(part.text) for reading in readings for part in reading.parts)


@pytest.mark.parametrize(
    ("words", "sought"),
    [
        (("할", "수", "있다"), "할수"),
        (("배포", "팀"), "포팀"),
        (("할수",), "할 수"),
        (("할때",), "할 때"),
        (("OrderService를",), "Order Service"),
    ],
)
def test_blanks_may_stand_elsewhere(words: tuple[str, ...], sought: str) -> None:
    """A short noun is also looked for with the word before it, and apart from it where both are one word."""
    readings = [reading for word in readings_of_words(SearchQuery(words=words)) for reading in word]
    assert sought in {part.text for reading in readings for part in reading.parts}


@pytest.mark.parametrize(
    ("word", "among"),
    [("검새", "검색"), ("인고", "인공"), ("다으", "다음")],
)
def test_a_final_consonant_may_be_yet_to_come(word: str, among: str) -> None:
    """What is typed on the way to a word begins with it, but for the last final consonant."""
    assert among in ending_in_finals(word)
    assert word not in ending_in_finals(word)


@pytest.mark.parametrize("word", ["검", "검색", "deplo", "배ㅍ", ""])
def test_what_has_its_final_consonant_awaits_none(word: str) -> None:
    """One syllable begins too many words."""
    assert ending_in_finals(word) == []
