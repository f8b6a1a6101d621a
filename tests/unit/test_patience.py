"""Which partitions wait after failures, and how records are divided so that they fail alone."""

from backbone.eventlog import Record, TopicPartition
from backbone.eventlog.batches import BatchLimits, lots
from backbone.eventlog.patience import LONGEST_PAUSE_S, Patience

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
        patience.failed([HERE], "search", 0.0)
    patience.failed([THERE], "search", 0.0)
    patience.failed([ELSEWHERE], "KeyError", 0.0)
    patience.failed([HERE], "search", 0.0)
    assert patience.waiting(LONGEST_PAUSE_S * 0.49) == {HERE, THERE}
    patience.succeeded([HERE])
    assert THERE not in patience.waiting(0.0)
    assert set(patience.troubled) == {THERE, ELSEWHERE}


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
    sound, alone = lots(records, {THERE}, limits)
    assert [[record.offset for record in batch] for batch in sound] == [[0, 2], [3, 5], [6, 8]]
    assert [[record.offset for record in batch] for batch in alone] == [[1, 4], [7]]
    assert list(lots([], {THERE}, limits)) == []
