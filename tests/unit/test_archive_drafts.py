"""The files to be: cut by date, size and age, without a gap or an overlap, whatever is read in what order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.drafts import Draft, DraftLimits, Drafts, Loss, Piece, pieces
from backbone.archive.layout import DataName, data_name, date_of
from backbone.eventlog import Progress, Record, TopicPartition

PLACE = TopicPartition("messages.created", 0)
DAY_MS = 86_400_000


def record(offset: int, timestamp_ms: int = 0, size: int = 1) -> Record:
    return Record(*PLACE, offset, "c", b"x" * size, (), timestamp_ms)


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, 3 * DAY_MS), st.integers(0, 900), st.floats(0, 20)),
        max_size=60,
    ),
    st.integers(0, 100),
)
def test_files_follow_each_other(steps: list[tuple[int, int, int, float]], position: int) -> None:
    """Each file begins where the one before ends, has one date, and all records are in them, in order."""
    drafts = Drafts(DraftLimits(max_bytes=3_000, max_age_s=10, total_bytes=6_000))
    drafts.begin(PLACE, position)
    read, written, now_s, offset = [], [], 0.0, position - 1
    for gap, timestamp_ms, size, pause_s in steps:
        offset += gap
        now_s += pause_s
        read.append(record(offset, timestamp_ms, size))
        drafts.add(read[-1], now_s, timestamp_ms)
        drafts.add(read[0], now_s, timestamp_ms)
        for due in drafts.due(now_s):
            written.append(due)
            drafts.written(due)
        assert drafts.size_bytes <= 6_000 + 2_000
    while rest := drafts.due(0.0, all_=True):
        written += rest
        for due in rest:
            drafts.written(due)
    assert drafts.size_bytes == 0 == drafts.records
    assert [each for draft in written for each in draft.records] == read
    assert [draft.first for draft in written] == [position, *(draft.after for draft in written)][
        : len(written)
    ]
    assert all({date_of(each.timestamp_ms) for each in draft.records} == {draft.date} for draft in written)


def test_a_record_waits_no_longer_than_the_age() -> None:
    """From when it was appended; one that is old already waits a moment for more of its kind."""
    drafts = Drafts(DraftLimits(max_bytes=3_000, max_age_s=60, total_bytes=6_000))
    drafts.begin(PLACE, 0)
    drafts.add(record(0, timestamp_ms=40_000), now_s=100.0, now_ms=50_000)
    assert drafts.due(149.9) == []
    (due,) = drafts.due(150.1)
    drafts.written(due)
    drafts.add(record(1, timestamp_ms=0), now_s=200.0, now_ms=10**9)
    assert drafts.due(204.9) == []
    assert len(drafts.due(205.1)) == 1


def test_a_clock_that_is_wrong_delays_nothing_for_ever() -> None:
    """Given a record from the future, its file is due after the age all the same."""
    drafts = Drafts(DraftLimits(max_bytes=3_000, max_age_s=60, total_bytes=6_000))
    drafts.begin(PLACE, 0)
    drafts.add(record(0, timestamp_ms=10**12), now_s=0.0, now_ms=0)
    assert len(drafts.due(60.1)) == 1


def test_what_is_not_taken_over_is_passed_over() -> None:
    drafts = Drafts(DraftLimits(max_bytes=3_000, max_age_s=60, total_bytes=6_000))
    drafts.add(record(0), 0.0, 0)
    assert drafts.records == 0
    drafts.begin(PLACE, 5)
    drafts.add(record(4), 0.0, 0)
    assert drafts.records == 0
    drafts.add(record(7), 0.0, 0)
    assert drafts.archived({PLACE: Progress(8, 9)}) == {PLACE: Progress(5, 9)}
    assert [draft.first for draft in drafts.due(0.0, all_=True)] == [5]


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 80), st.integers(0, 5))
def test_losses_and_pieces_cover_each_offset_once(offsets: set[int], earliest: int, before: int) -> None:
    """A hole before the log's first offset counts as lost, one behind it does not; nothing is left out."""
    in_order = sorted(offsets)
    first = max(0, in_order[0] - before)
    draft = Draft(PLACE, first, "1970-01-01", 0.0, [record(offset) for offset in in_order])
    expected, lost, kept = first, set(), []
    for each in pieces(draft, earliest):
        assert each.first == expected
        match each:
            case Loss():
                lost |= set(range(each.first, each.last + 1))
                expected = each.last + 1
            case Piece():
                kept += [one.offset for one in each.records]
                expected = each.records[-1].offset + 1
    assert kept == in_order
    assert expected == draft.after
    assert lost == {offset for offset in range(first, min(earliest, draft.after)) if offset not in offsets}


@pytest.mark.parametrize(
    ("timestamp_ms", "date"),
    [
        (0, "1970-01-01"),
        (-1, "1970-01-01"),
        (DAY_MS - 1, "1970-01-01"),
        (DAY_MS, "1970-01-02"),
        (2**63 - 1, "9999-12-31"),
    ],
)
def test_dates_are_of_utc(timestamp_ms: int, date: str) -> None:
    assert date_of(timestamp_ms) == date


def test_names_are_read_as_they_are_written() -> None:
    name = DataName("platform.messages.created", "2026-01-31", 12, 0, 99)
    assert data_name(name.path) == name
    assert name.path == (
        "platform.messages.created/2026-01-31/12-00000000000000000000-00000000000000000099.parquet"
    )
    for path in ("_manifest/a/2026-01-31/1-0-1.parquet", name.pending("x"), "a/b.parquet", "a"):
        assert data_name(path) is None
