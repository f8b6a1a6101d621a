"""Which partitions wait after failures, and how records are divided so that they fail alone."""

from backbone.eventlog import Record, TopicPartition
from backbone.eventlog.batches import BatchLimits, Span, lots
from backbone.eventlog.patience import LONGEST_PAUSE_S, Pace, Patience

HERE, THERE, ELSEWHERE = (TopicPartition("t", number) for number in range(3))


def test_pauses_grow_with_each_failure() -> None:
    """A partition waits, is tried, and waits longer; it is forgotten once it succeeds."""
    patience = Patience()
    now_s = 0.0
    for longest in (0.2, 0.4, 0.8, 1.6):
        patience.failed([HERE], "search", now_s)
        assert patience.waiting(now_s + longest * 0.49) == {HERE}
        assert patience.waiting(now_s + longest) == set()
        assert list(patience.troubled) == [HERE]
        now_s += longest
    patience.succeeded([HERE])
    assert not patience.troubled
    patience.failed([HERE], "search", now_s)
    assert patience.waiting(now_s + 0.2) == set()


def test_one_attempt_stands_for_all_that_wait_for_the_same() -> None:
    """Given two that wait for one dependency, another failure of the first puts the second off, too."""
    patience = Patience()
    for _ in range(10):
        patience.failed([HERE, THERE], "search", -LONGEST_PAUSE_S)
    patience.failed([ELSEWHERE], "KeyError", 0.0)
    patience.failed([HERE], "search", 0.0)
    assert patience.waiting(LONGEST_PAUSE_S * 0.49) == {HERE, THERE}
    patience.succeeded([HERE])
    assert THERE not in patience.waiting(0.0)
    assert set(patience.troubled) == {THERE, ELSEWHERE}


def test_each_has_its_turn_to_find_out() -> None:
    """One that fails again and again does not put the other off for ever, whose turn comes before its own."""
    patience = Patience()
    patience.failed([HERE, THERE], "search", 0.0)
    patience.failed([HERE], "search", 1.0)
    assert patience.waiting(1.0) == {HERE, THERE}
    patience.failed([HERE], "search", 2.0)
    assert patience.waiting(2.0) == {HERE}
    assert list(patience.troubled) == [THERE, HERE]


def test_slow_batches_shrink_and_quick_ones_grow() -> None:
    """Half as many records are tried after each that took too long, twice as many after a full quick one."""
    pace = Pace(quick_s=30.0)
    pace.overdue({HERE: Span(400, 0, 400), THERE: Span(1, 0, 1)})
    pace.overdue({HERE: Span(200, 0, 200)})
    assert pace.at_most == {HERE: 100, THERE: 1}
    for records, seconds in ((100, 31.0), (99, 1.0)):
        pace.took({HERE: Span(records, 0, records)}, seconds, 300)
        assert pace.at_most[HERE] == 100
    pace.took({HERE: Span(100, 0, 100)}, 1.0, 300)
    assert pace.at_most[HERE] == 200
    pace.took({HERE: Span(200, 0, 200)}, 1.0, 300)
    pace.keep_only({HERE})
    assert pace.at_most == {}


def test_partitions_of_others_are_forgotten() -> None:
    """What is not held any more is not waited for."""
    patience = Patience()
    patience.failed([HERE, THERE], "search", 0.0)
    patience.keep_only({THERE, ELSEWHERE})
    assert set(patience.troubled) == {THERE}


def test_partitions_in_trouble_are_lots_of_their_own() -> None:
    """All others are one lot, in their order; a lot's batches are no larger than the bound."""
    records = [Record("t", number % 3, number, "k", b"12345", (), 0) for number in range(9)]
    limits = BatchLimits(size_bytes=10)
    sound, slow, alone = (
        [[record.offset for record in batch] for batch in lot]
        for lot in lots(records, {ELSEWHERE: 1, THERE: 500}, limits)
    )
    assert sound == [[0, 3], [6]]
    assert slow == [[2], [5], [8]]
    assert alone == [[1, 4], [7]]
    assert list(lots([], {THERE: 500}, limits)) == []
