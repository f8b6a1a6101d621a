"""When a driver counts as one that stands still, and when a partition only waits."""

from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition as KafkaPartition

from backbone.eventlog import Progress
from backbone.eventlog.kafka.watch import STANDSTILL_LOOKS, STANDSTILL_POLLS, Standstill

SILENT, LIVE = KafkaPartition("t", 0), KafkaPartition("t", 1)
BOTH = {SILENT, LIVE}
POLLS_A_LOOK = STANDSTILL_POLLS // STANDSTILL_LOOKS


class Story:
    """A driver's polls and looks; records lie before both partitions all the time."""

    def __init__(self) -> None:
        self.standing = Standstill()
        self.positions = {SILENT: 5, LIVE: 0}

    def look(self) -> list[KafkaPartition]:
        progress: Mapping[KafkaPartition, Progress] = {
            place: Progress(position, 1_000_000) for place, position in self.positions.items()
        }
        return self.standing.look(progress)

    def rounds(self, number: int, *, drained: bool = True, polls: int = POLLS_A_LOOK) -> list[KafkaPartition]:
        """Poll and look so often; only the live partition gives records."""
        found: list[KafkaPartition] = []
        for _ in range(number):
            for _ in range(polls):
                self.positions[LIVE] += 1
                self.standing.polled(BOTH, {LIVE}, drained=drained)
            found = self.look()
        return found


def test_a_silent_partition_is_noticed_while_another_gives_records() -> None:
    """Given polls that drain all there is, and never bring anything of it, for six looks."""
    story = Story()
    assert story.rounds(STANDSTILL_LOOKS) == []
    assert story.rounds(1) == [SILENT]


def test_who_waits_for_its_turn_does_not_stand_still() -> None:
    """Full polls leave it behind others."""
    assert Story().rounds(10 * STANDSTILL_LOOKS, drained=False) == []


def test_few_polls_tell_nothing() -> None:
    """Given batches that take as long as a look, more of them are waited for."""
    story = Story()
    assert story.rounds(STANDSTILL_POLLS - 1, polls=1) == []
    assert story.rounds(1, polls=1) == [SILENT]


@pytest.mark.parametrize("what", ["gives records", "is paused"])
def test_what_gives_records_or_is_paused_begins_anew(what: str) -> None:
    """A partition that fails again and again has the same position each time, and does not stand still."""
    story = Story()
    for _ in range(5):
        assert story.rounds(STANDSTILL_LOOKS) == []
        if what == "is paused":
            story.standing.polled({LIVE}, {LIVE}, drained=True)
        else:
            story.standing.polled(BOTH, BOTH, drained=True)
    assert story.rounds(STANDSTILL_LOOKS + 1) == [SILENT]


def test_what_moves_or_is_at_the_end_does_not_stand_still() -> None:
    """Without records of ours behind a position that moves, or none before it."""
    story = Story()
    for _ in range(3 * STANDSTILL_LOOKS):
        story.positions[SILENT] += 1
        assert story.rounds(1) == []
    story.positions[SILENT] = 1_000_000
    assert story.rounds(3 * STANDSTILL_LOOKS) == []
