"""What `maeari lag` works out of two looks at the log, and how it prints it."""

from pathlib import Path

import pytest

from backbone.eventlog import EventLog, TopicPartition, TopicState
from backbone.eventlog.embedded import EmbeddedEventLog
from maeari.columns import aligned, counted, sized
from maeari.lag import Look, between, table
from maeari.parked import ParkedCount
from schemas.topics import GROUP_INDEXER, MESSAGES_CREATED

NAME = MESSAGES_CREATED.name


@pytest.fixture
def eventlog(tmp_path: Path) -> EventLog:
    return EmbeddedEventLog(tmp_path / "log", "p")


def look(at_s: float, earliest: tuple[int, ...], end: tuple[int, ...], *committed: int) -> Look:
    state = TopicState(NAME, len(end), "keep", None, 1, earliest, end)
    offsets = {TopicPartition(NAME, number): offset for number, offset in enumerate(committed)}
    return Look(
        at_s,
        {NAME: state},
        {GROUP_INDEXER: offsets},
        {GROUP_INDEXER: 2},
        {GROUP_INDEXER: ParkedCount(1, 1_200)},
    )


def test_lag_and_rates(eventlog: EventLog) -> None:
    """Given two looks, the lag is that of the second, and the rates are per second in between."""
    lag = between(look(1.0, (0, 0), (10, 5), 0, 5), look(3.0, (0, 0), (30, 5), 14, 5), eventlog)
    (group,) = lag.groups
    assert (group.group, group.members, group.lag, lag.sample_s) == (GROUP_INDEXER, 2, 16, 2.0)
    assert (group.in_per_s, group.out_per_s) == (10.0, 7.0)
    assert (group.parked_keys, group.parked_records) == (1, 1_200)
    assert table(lag).splitlines()[0].endswith("1 key stopped with 1,200 parked")
    assert [(p.topic, p.committed, p.end, p.lag) for p in group.partitions] == [
        (f"p.{NAME}", 14, 30, 16),
        (f"p.{NAME}", 5, 5, 0),
    ]


def test_a_group_without_commits_lags_from_the_earliest_offset(eventlog: EventLog) -> None:
    """Given records that have expired, only those that are there lie before a group that is new."""
    now = look(2.0, (90,), (100,), 0)
    assert between(look(1.0, (80,), (100,), 0), now, eventlog).groups[0].lag == 10


def test_a_partition_that_nobody_leads_is_unknown(eventlog: EventLog) -> None:
    """Given a partition without a leader, its lag is unknown, and the totals are of the others."""
    lag = between(look(1.0, (0, 0), (10, 10), 4, 4), look(2.0, (-1, 0), (-1, 20), 4, 10), eventlog)
    (group,) = lag.groups
    assert group.lag == 10
    assert [(p.lag, p.in_per_s, p.out_per_s) for p in group.partitions] == [
        (None, None, 0.0),
        (10, 10.0, 6.0),
    ]
    assert table(lag).splitlines()[2].split() == [f"p.{NAME}", "0", "4", "-", "-", "-", "0.0"]


def test_offsets_that_went_back_are_no_rate(eventlog: EventLog) -> None:
    """Given a group that was set back, or topics made anew, rates are never below zero."""
    (group,) = between(look(1.0, (0,), (10,), 9), look(2.0, (0,), (3,), 1), eventlog).groups
    assert (group.lag, group.in_per_s, group.out_per_s) == (2, 0.0, 0.0)


def test_the_table_has_a_line_for_each_partition(eventlog: EventLog) -> None:
    """People read the group's totals first, then aligned columns that fit on a terminal."""
    lines = table(
        between(look(1.0, (0,), (0,), 0), look(2.0, (0,), (1_234_567,), 1_000), eventlog)
    ).splitlines()
    assert lines == [
        "search-indexer: 2 members, lag 1,233,567, in 1,234,567/s, out 1,000/s,"
        " 1 key stopped with 1,200 parked",
        "  topic               partition  committed        end        lag       in/s  out/s",
        "  p.messages.created          0      1,000  1,234,567  1,233,567  1,234,567  1,000",
    ]


def test_columns() -> None:
    """Texts stand to the left, numbers to the right."""
    rows = [("name", "n"), ("a", "10,000")]
    assert list(aligned(rows, numbers_from=1)) == ["name       n", "a     10,000"]
    assert [counted(1234567), counted(None)] == ["1,234,567", "-"]
    assert [sized(size) for size in (None, 0, 1023, 1024, 5 * 2**30, 2**52)] == [
        "-",
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 GiB",
        "4096.0 TiB",
    ]
