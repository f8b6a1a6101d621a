"""The language of the search box: everything is read, and nothing typed is ever an error."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.search import SearchQuery
from backend.queries.search_query import (
    TEXTS_MAX,
    BadParameter,
    asks_for_nothing,
    parse_query,
    with_parameters,
)

SEOUL = ZoneInfo("Asia/Seoul")
JANUARY_31 = round(datetime(2026, 1, 30, 15, tzinfo=UTC).timestamp() * 1000)
JANUARY_1 = round(datetime(2025, 12, 31, 15, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("q", "query"),
    [
        ("", SearchQuery()),
        ("배포 완료  deploy", SearchQuery(words=("배포", "완료", "deploy"), begun_word="deploy")),
        ("배포 완료  deploy ", SearchQuery(words=("배포", "완료", "deploy"))),
        ("배포! deploy?", SearchQuery(words=("배포!", "deploy?"))),
        ("\u1107\u1162\u1111\u1169 ", SearchQuery(words=("배포",))),
        ('"배포를 완료" now', SearchQuery(words=("now",), phrases=("배포를 완료",), begun_word="now")),
        ("“배포를 완료”", SearchQuery(phrases=("배포를 완료",))),
        ('-draft -"not yet"', SearchQuery(not_words=("draft",), not_phrases=("not yet",))),
        ("from:kim in:general", SearchQuery(authors=("kim",), channels=("general",))),
        ("From:kim", SearchQuery(authors=("kim",))),
        ('in:"팀 배포"', SearchQuery(channels=("팀 배포",))),
        ("-from:kim -in:ops -mentions:lee", SearchQuery(
            not_authors=("kim",), not_channels=("ops",), not_mentions=("lee",)
        )),
        ("from:a from:b from:a", SearchQuery(authors=("a", "b"))),
        ("has:attachment", SearchQuery(has_attachment=True)),
        ("-has:attachment", SearchQuery(not_has_attachment=True)),
        ("after:2026-01-01 before:2026-01-31", SearchQuery(from_ms=JANUARY_1, until_ms=JANUARY_31)),
        ("before:2026-01-31 before:2026-01-01", SearchQuery(until_ms=JANUARY_1)),
        ("after:2026-01-31 after:2026-01-01", SearchQuery(from_ms=JANUARY_31)),
        ("-before:2026-01-31", SearchQuery(from_ms=JANUARY_31)),
        ("https://example.com/a:b e-mail", SearchQuery(
            words=("https://example.com/a:b", "e-mail"), begun_word="e-mail"
        )),
        ('code"two words"', SearchQuery(words=("code",), phrases=("two words",))),
    ],
)  # fmt: skip
def test_what_the_language_says(q: str, query: SearchQuery) -> None:
    """Words, phrases, negation and operators each land in their part of the query."""
    assert parse_query(q, SEOUL) == query


@pytest.mark.parametrize(
    ("q", "query"),
    [
        ('"배포를 완료', SearchQuery(words=("배포를", "완료"), begun_word="완료")),
        ('a "b c" "', SearchQuery(words=("a",), phrases=("b c",))),
        ("from:", SearchQuery(words=("from:",))),
        ('from:""', SearchQuery(words=("from:",))),
        ("-", SearchQuery(words=("-",))),
        ("--", SearchQuery()),
        ('-!!! ---- -"..." -- -', SearchQuery(words=("-",))),
        ("-!a --b -🎉", SearchQuery(not_words=("!a", "-b", "🎉"))),
        ('-before:"!!!"', SearchQuery(not_words=("before:",))),
        ('""', SearchQuery()),
        ("has:link", SearchQuery(words=("has:link",))),
        ("before:2026-02-30", SearchQuery(words=("before:2026-02-30",))),
        ("before:tomorrow", SearchQuery(words=("before:tomorrow",))),
        ('-before:"next week"', SearchQuery(not_words=("before:", "next", "week"))),
        ("after:20260131", SearchQuery(words=("after:20260131",))),
        ("배포\ud800", SearchQuery(words=("배포?",))),
    ],
)
def test_what_is_no_syntax_is_searched_as_words(q: str, query: SearchQuery) -> None:
    """A mistake finds what stands there, and is no error."""
    assert parse_query(q, SEOUL) == query


_PIECES = st.sampled_from(
    ['"', "“", "-", ":", " ", "from:", "in:", "before:", "2026-01-31", "배포", "a", "\0", "\ud800"]
)


@given(st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=60).map("".join)))
def test_every_text_is_read(q: str) -> None:
    """Nothing raises, and every value that comes out can be sent to a store."""
    query = parse_query(q, SEOUL)
    for values in (query.words, query.phrases, query.not_words, query.not_phrases, query.authors):
        assert all(value.strip() and value.encode() for value in values)
    assert query == parse_query(q, SEOUL)


@pytest.mark.parametrize("piece", ['"', '-"', "- ", "from:", 'in:"', "before:2026-01-31 ", "a", "“"])
def test_long_texts_are_read_in_time(piece: str) -> None:
    """No text makes the reader go back and forth: a megabyte is read within the test's time-out."""
    parse_query(piece * (1_000_000 // len(piece)), SEOUL)


def test_parameters_say_what_the_operators_say() -> None:
    """Under either of their names, beside what stands in `q`."""
    query = with_parameters(
        parse_query("배포 mentions:kim", SEOUL),
        {
            "author": ["lee"],
            "channel": ["general"],
            "in": ["팀 배포"],
            "mentions": ["park"],
            "has": ["attachment"],
            "after": ["2026-01-01"],
            "before": ["2026-01-31"],
            "sort": ["oldest"],
        },
        SEOUL,
    )
    assert query == SearchQuery(
        words=("배포",),
        authors=("lee",),
        channels=("팀 배포", "general"),
        mentions=("kim", "park"),
        has_attachment=True,
        from_ms=JANUARY_1,
        until_ms=JANUARY_31,
        sort="oldest",
    )


@pytest.mark.parametrize(
    ("q", "given", "query"),
    [
        ("in:a", {"channel": ["a"]}, SearchQuery(channels=("a",))),
        ("in:a in:b in:c", {"channel": ["c"], "in": ["b", "d"]}, SearchQuery(channels=("b", "c"))),
        ("in:a", {"channel": ["b"]}, SearchQuery(channels=("a",), not_channels=("a",))),
        ("-in:a", {"channel": ["a"]}, SearchQuery(channels=("a",), not_channels=("a",))),
        ("-in:a", {"channel": ["b"]}, SearchQuery(channels=("b",), not_channels=("a",))),
        ("from:a from:b", {"author": ["b"]}, SearchQuery(authors=("b",))),
        ("from:a in:x", {"from": ["b"]}, SearchQuery(authors=("a",), not_authors=("a",), channels=("x",))),
        ("mentions:a", {"mentions": ["b"]}, SearchQuery(mentions=("a", "b"))),
        ("in:a", {"channel": [""]}, SearchQuery(channels=("a",))),
    ],
)
def test_a_parameter_narrows_what_stands_in_q(
    q: str, given: dict[str, list[str]], query: SearchQuery
) -> None:
    """Several of one kind widen; what is typed into the box of one channel stays in that channel."""
    read = with_parameters(parse_query(q, SEOUL), given, SEOUL)
    assert read == replace(query, sort="newest")


@pytest.mark.parametrize(
    ("field", "value"),
    [("before", "tomorrow"), ("after", "2026-02-30"), ("has", "link"), ("sort", "best")],
)
def test_a_bad_parameter_is_named(field: str, value: str) -> None:
    """Beside `q` there is a field to point at."""
    with pytest.raises(BadParameter, match=f"^{field}: ") as caught:
        with_parameters(SearchQuery(), {field: [value]}, SEOUL)
    assert caught.value.field == field


@pytest.mark.parametrize("kind", ["{}", '"{} x"', "-{}", '-"{} x"'])
def test_too_many_words_and_phrases_are_refused(kind: str) -> None:
    """Of words and phrases, wanted or not, so many are read and no more; repeated ones count once."""
    most = " ".join(kind.format(f"w{number}") for number in range(TEXTS_MAX))
    allowed = parse_query(f"{most} {most} from:kim in:general", SEOUL)
    assert with_parameters(allowed, {"mentions": ["lee"]}, SEOUL).authors == ("kim",)
    for another in ("another", '"another one"', "-another", '-"another one"'):
        with pytest.raises(BadParameter, match=f"^q: at most {TEXTS_MAX} ") as caught:
            with_parameters(parse_query(f"{most} {another}", SEOUL), {}, SEOUL)
        assert caught.value.field == "q"


@pytest.mark.parametrize(
    ("q", "sort"),
    [("배포", "relevance"), ('"배포"', "relevance"), ("from:kim", "newest"), ("-배포", "newest")],
)
def test_without_words_the_newest_come_first(q: str, sort: str) -> None:
    """Relevance needs something to be relevant to."""
    assert with_parameters(parse_query(q, SEOUL), {}, SEOUL).sort == sort


@pytest.mark.parametrize(
    ("q", "nothing"),
    [
        ("", True),
        (" ", True),
        ('""', True),
        ("--", True),
        ('-! -"*" ---', True),
        ("-a", False),
        ("!", False),
        ("*", False),
        (":", False),
        ("-", False),
        ("-- 배포", False),
        ("-- from:kim", False),
    ],
)
def test_asking_for_nothing_is_noticed(q: str, nothing: bool) -> None:
    """A sort alone asks for nothing either."""
    assert asks_for_nothing(with_parameters(parse_query(q, SEOUL), {"sort": ["oldest"]}, SEOUL)) is nothing
