"""What must change in topics on Kafka: settings, and brokers of partitions with too few replicas."""

from collections import Counter

import pytest

from backbone.eventlog.kafka.admin import ClusterView, PartitionView
from backbone.eventlog.kafka.replication import to_reassign
from backbone.eventlog.kafka.topic_settings import change_lines, to_change, wanted
from backbone.eventlog.topic_state import duration, partition_lines, partitions_of_new
from schemas.topics import DAY_MS, MESSAGES_CREATED, MESSAGES_STATE, NOTIFICATIONS_SENT


def placed(*replicas: tuple[int, ...]) -> tuple[PartitionView, ...]:
    return tuple(PartitionView(number, held[0], held, held) for number, held in enumerate(replicas))


def test_a_topic_that_is_right_does_not_change() -> None:
    """Given the settings that a topic is made with, nothing changes, whatever else is set."""
    for topic in (MESSAGES_CREATED, MESSAGES_STATE, NOTIFICATIONS_SENT):
        assert to_change(topic, wanted(topic, 3) | {"segment.ms": "1"}, 3) == {}


@pytest.mark.parametrize(
    ("present", "replication", "changed"),
    [("1", 3, "2"), ("3", 3, "2"), ("2", 3, None), ("3", 5, None), ("1", 1, None), ("2", 1, None)],
)
def test_how_many_must_be_in_sync(present: str, replication: int, changed: str | None) -> None:
    """Of three replicas two: one may be lost, one may be down. Fewer replicas are left alone."""
    settings = wanted(MESSAGES_CREATED, 1) | {"min.insync.replicas": present}
    assert to_change(MESSAGES_CREATED, settings, replication).get("min.insync.replicas") == changed


def test_a_topic_for_ever_is_never_made_to_expire() -> None:
    """Given any setting, what the contract keeps for ever ends without a limit of time or size."""
    for present in ({}, wanted(MESSAGES_STATE, 1), wanted(NOTIFICATIONS_SENT, 1), {"retention.bytes": "5"}):
        after = {**present, **to_change(MESSAGES_CREATED, present, 1)}
        assert (after["cleanup.policy"], after["retention.ms"], after["retention.bytes"]) == (
            "delete",
            "-1",
            "-1",
        )


def test_a_shorter_retention_is_said() -> None:
    """Given 45 days where the contract has 30, the line names both."""
    present = wanted(NOTIFICATIONS_SENT, 1) | {"retention.ms": str(45 * DAY_MS)}
    new = to_change(NOTIFICATIONS_SENT, present, 1)
    assert change_lines("p.n", present, new, dry_run=False) == [
        "p.n: cleanup changed from kept for 45 days to kept for 30 days"
    ]


def test_replicas_are_added_and_none_is_taken_away() -> None:
    """Given a cluster that grew from one broker to three, all get three replicas, and leaders are spread."""
    view = ClusterView(
        {1: None, 2: None, 3: None}, {"a": placed((1,), (1,), (1,)), "b": placed((1,), (1, 2), (3, 1, 2))}
    )
    assignments = to_reassign(view, 3)
    assert assignments.keys() == {("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)}
    assert all(sorted(brokers) == [1, 2, 3] for brokers in assignments.values())
    assert Counter(brokers[0] for brokers in assignments.values()) == {1: 2, 2: 2, 3: 1}


def test_replicas_go_to_other_racks_and_to_those_that_hold_least() -> None:
    """Given five brokers on three racks, each partition ends on all three racks, and none holds it twice."""
    racks = {1: "r1", 2: "r1", 3: "r2", 4: "r2", 5: "r3"}
    view = ClusterView(racks, {"a": placed(*[(1,)] * 6)})
    assignments = to_reassign(view, 3)
    for brokers in assignments.values():
        assert 1 in brokers
        assert {racks[broker] for broker in brokers} == {"r1", "r2", "r3"}
    held = Counter(broker for brokers in assignments.values() for broker in brokers)
    assert (held[3], held[4]) == (3, 3)


def test_more_replicas_than_three_stay() -> None:
    """Given four replicas, nothing is reassigned."""
    view = ClusterView({1: None, 2: None, 3: None, 4: None}, {"a": placed((1, 2, 3, 4))})
    assert to_reassign(view, 3) == {}


@pytest.mark.parametrize(
    ("existing", "number"), [([6, 6], 6), ([6, 6, 6], 6), ([6, 5, 6], 3), ([6], 3), ([], 3)]
)
def test_new_topics_follow_the_others(existing: list[int], number: int) -> None:
    """Of three topics, a missing one gets as many partitions as most others have, where they agree."""
    assert partitions_of_new(existing, 3, 3) == number


def test_uneven_topics_are_said_once() -> None:
    """Given unlike numbers, each that is not as wanted has a line, and one says what it means."""
    assert partition_lines({"a": 3, "b": 3}, {"c": 3}, 3) == []
    assert len(partition_lines({"a": 3, "b": 3}, {"c": 3}, 4)) == 2
    *others, last = partition_lines({"a": 3, "b": 4, "c": 3}, {}, 3)
    assert others == ["b: has 4 partitions, wanted 3; left as it is, or keys would change places"]
    assert "(4: b; 3: the others)" in last


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(7 * DAY_MS, "7 days"), (DAY_MS, "1 day"), (5_400_000, "90 minutes"), (1500, "1500 ms"), (0, "0 ms")],
)
def test_durations_are_whole(duration_ms: int, text: str) -> None:
    """A duration is told in the largest unit that leaves no rest."""
    assert duration(duration_ms) == text
