"""Laws of the search box, for any text: quotes, negations, combinations, and when days begin."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unicodedata import normalize
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backbone.search import SearchQuery
from backend.queries.search_query import parse_query, with_parameters

SEOUL = ZoneInfo("Asia/Seoul")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Asia/Seoul",
        "America/Sao_Paulo",  # days that begin at one o'clock
        "America/Havana",  # midnights that come twice
        "America/St_Johns",  # clocks that went from 00:01 back into the day before
        "Pacific/Apia",  # a day that never was
        "Africa/Monrovia",
        "Pacific/Kiritimati",
    )
]
UNQUOTED = st.characters(exclude_characters='"“”', exclude_categories=["Cs"])
TEXT = st.text(UNQUOTED, min_size=1, max_size=40).filter(str.strip)
WORD = st.text(UNQUOTED, min_size=1, max_size=12).filter(
    lambda text: len(text.split()) == 1 and text.strip() == text
)
NAMES = st.sampled_from(["from", "in", "mentions"])
DAYS = st.dates(date(1970, 1, 3), date(9999, 12, 30))

QUOTED = TEXT.map('"{}"'.format)
OPERATORS = st.builds("{}:{}".format, NAMES, st.one_of(QUOTED, st.sampled_from(["kim", "철수", "a:b"])))
DATES = st.builds("{}:{}".format, st.sampled_from(["before", "after"]), DAYS)
ITEMS = st.builds(
    str.__add__,
    st.sampled_from(["", "-"]),
    st.one_of(QUOTED, OPERATORS, DATES, st.sampled_from(["has:attachment", "배포", "deploy", "c++", "a.b"])),
)


def as_sets(query: SearchQuery) -> dict[str, Any]:
    """Return the parts of a query, what was said several times or in another order being the same."""
    values = {field.name: getattr(query, field.name) for field in fields(query)}
    return {name: set(value) if isinstance(value, tuple) else value for name, value in values.items()}


def begins_ms(day: date, zone: ZoneInfo) -> int:
    begin = parse_query(f"after:{day}", zone).from_ms
    assert begin is not None
    assert parse_query(f"before:{day}", zone).until_ms == begin
    return begin


@given(TEXT)
@example("from:kim -x before:2026-01-31")
@example("\uf900")
def test_what_is_quoted_stays_a_phrase(text: str) -> None:
    """Operators, signs and blanks in quotes are text; the phrase, composed, is all that there is."""
    assert parse_query(f'"{text}"', SEOUL) == SearchQuery(phrases=(normalize("NFC", text.strip()),))


@given(st.text(max_size=60), ITEMS.map(lambda item: "-" + item.lstrip("-")))
@example('an open "quote', "-later")
def test_a_negation_only_narrows(q: str, negation: str) -> None:
    """Behind whatever else, it adds to what must not be, or bounds the time; nothing that must be goes."""
    q = q.replace('"', "").replace("“", "").replace("”", "") if '"' in negation else q
    before, after = parse_query(q, SEOUL), parse_query(f"{q} {negation}", SEOUL)
    for field in ("words", "phrases", "authors", "channels", "mentions", "has_attachment"):
        assert getattr(before, field) == getattr(after, field)
    for field in ("not_words", "not_phrases", "not_authors", "not_channels", "not_mentions"):
        assert set(getattr(before, field)) <= set(getattr(after, field))
    assert before.not_has_attachment <= after.not_has_attachment
    assert (before.from_ms or 0) <= (after.from_ms or 0)
    assert (before.until_ms or 2**63) >= (after.until_ms or 2**63)


@given(st.lists(ITEMS, max_size=6).flatmap(lambda items: st.tuples(st.just(items), st.permutations(items))))
def test_the_order_of_items_says_nothing(orders: tuple[Sequence[str], Sequence[str]]) -> None:
    """The same items in another order, or said twice, are the same query, once the last one is complete."""
    one, other = orders
    expected = as_sets(parse_query(" ".join([*one, " "]), SEOUL))
    assert as_sets(parse_query(" ".join([*other, " "]), SEOUL)) == expected
    assert as_sets(parse_query(" ".join([*other, *one, " "]), SEOUL)) == expected


@given(st.lists(ITEMS, max_size=4), st.lists(ITEMS, max_size=4))
def test_items_are_read_each_by_itself(some: list[str], others: list[str]) -> None:
    """A query of two halves says what the one and the other say."""
    whole, half, rest = [parse_query(" ".join(items), SEOUL) for items in ([*some, *others], some, others)]
    for field in fields(SearchQuery):
        values = getattr(half, field.name), getattr(rest, field.name)
        if isinstance(values[0], tuple):
            assert set(getattr(whole, field.name)) == set(values[0]) | set(values[1])
        elif isinstance(values[0], bool):
            assert getattr(whole, field.name) == any(values)


@given(NAMES, WORD)
def test_a_parameter_says_what_its_operator_says(name: str, value: str) -> None:
    """Under the same name, whatever the value."""
    given_beside = with_parameters(SearchQuery(), {name: [value]}, SEOUL)
    assert replace(given_beside, sort="relevance") == parse_query(f'{name}:"{value}"', SEOUL)


@given(DAYS, st.sampled_from(ZONES))
@example(date(1987, 5, 10), ZoneInfo("Asia/Seoul"))
@example(date(1988, 5, 8), ZoneInfo("Asia/Seoul"))
@example(date(1988, 10, 9), ZoneInfo("Asia/Seoul"))
@example(date(2018, 11, 4), ZoneInfo("America/Sao_Paulo"))
@example(date(2018, 2, 18), ZoneInfo("America/Sao_Paulo"))
@example(date(2010, 10, 31), ZoneInfo("America/Havana"))
@example(date(2010, 11, 7), ZoneInfo("America/St_Johns"))
@example(date(2011, 12, 30), ZoneInfo("Pacific/Apia"))
def test_a_day_begins_where_the_clocks_say_so(day: date, zone: ZoneInfo) -> None:
    """One moment before it is another day; clocks that jump over midnight, or over a day, change nothing."""
    begin = datetime.fromtimestamp(begins_ms(day, zone) / 1000, UTC)
    assert (begin - timedelta(milliseconds=1)).astimezone(zone).date() < day <= begin.astimezone(zone).date()
    assert begins_ms(day, zone) <= begins_ms(day + timedelta(days=1), zone)
    assert parse_query(f"-before:{day}", zone) == parse_query(f"after:{day}", zone)
    assert parse_query(f"-after:{day}", zone) == parse_query(f"before:{day}", zone)


@pytest.mark.parametrize(
    ("day", "zone", "begin"),
    [
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00+00:00"),
        ("2018-11-05", "America/Sao_Paulo", "2018-11-05T02:00:00+00:00"),
        ("1988-05-08", "Asia/Seoul", "1988-05-07T15:00:00+00:00"),
        ("1988-05-09", "Asia/Seoul", "1988-05-08T14:00:00+00:00"),
        ("1988-10-10", "Asia/Seoul", "1988-10-09T15:00:00+00:00"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
    ],
)
def test_days_of_clocks_that_change(day: str, zone: str, begin: str) -> None:
    """Summer time at midnight, summer time of long ago, and a day that was left out."""
    assert (
        begins_ms(date.fromisoformat(day), ZoneInfo(zone)) == datetime.fromisoformat(begin).timestamp() * 1000
    )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", ["0001-01-01", "1969-12-31", "1970-01-01", "9999-12-31"])
def test_the_ends_of_time_are_days(day: str, zone: ZoneInfo) -> None:
    """None is before 1970, and none beyond what a store counts."""
    assert 0 <= begins_ms(date.fromisoformat(day), zone) < 2**48
