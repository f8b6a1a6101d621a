"""What a replay must have found before an index is swapped in; pure."""

from rebuilder.refusal import Refusal
from rebuilder.search.replay import Replay
from rebuilder.search.ways import Ways
from schemas.clock import format_ms
from schemas.topics import MESSAGES_CREATED, MESSAGES_STATE


class NotProven(Refusal):
    """The new index must not be swapped in; the text says why."""


def check_anything(replay: Replay, ways: Ways) -> None:
    """Raise NotProven where a moment lies before the first event."""
    if ways.until_ms is None or replay.fold.messages:
        return
    begins = replay.begins_ms
    first = "the log holds none" if begins is None else f"the first event is of {format_ms(begins)}"
    raise NotProven(f"no message had been written by {format_ms(ways.until_ms)}: {first}")


def check_whole(replay: Replay, ways: Ways) -> None:
    """Raise NotProven where there are fewer messages than the log was told."""
    left_out = replay.unreadable[MESSAGES_CREATED.name] if ways.skip_poison else 0
    held = replay.fold.messages
    if held + left_out < ways.told:
        raise NotProven(f"the log holds {held:,} of the {ways.told:,} messages that it was told")


def check_problems(replay: Replay, ways: Ways) -> None:
    """Raise NotProven where records could not be read or applied, but for those that may be left out."""
    count = replay.problem_count
    if count and not (ways.skip_poison and count == replay.unreadable.total()):
        raise NotProven(f"records that cannot be read or applied: {count:,}{_way_on(replay, ways)}")
    if outlived := replay.outlived:
        raise NotProven(
            f"messages that have a tombstone in {MESSAGES_STATE.name}, and no deletion: {len(outlived):,}"
            f" ({outlived[0]}); where it was compacted meanwhile, rebuild again"
        )


def _way_on(replay: Replay, ways: Ways) -> str:
    """Say how to rebuild all the same."""
    if ways.skip_poison or replay.unreadable.total() < replay.problem_count:
        return ""
    readable = ways.source != "state" and ways.until_ms is None and not replay.unreadable[MESSAGES_STATE.name]
    without = "; with --from state they are not read" if readable else ""
    return f"{without}; --skip-poison leaves them out"
