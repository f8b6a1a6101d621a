"""How a topic that exists differs from the one that is wanted, in lines for people."""

from collections.abc import Mapping, Sequence

from backbone.errors import SetupError
from backbone.eventlog import TopicState
from schemas.topics import DAY_MS, REPLAY_HORIZON_MS, Topic


def made(topic: Topic, partitions: int, replication: int) -> str:
    """Return the line for a topic that was made."""
    copies = f", {replication} replicas" if replication > 1 else ""
    return (
        f"{topic.name}: made with {partitions} partitions{copies}, {_kept(topic.cleanup, topic.retention_ms)}"
    )


def differences(topic: Topic, state: TopicState, partitions: int) -> list[str]:
    """Return a line for each way in which an existing topic differs; nothing is ever changed in one."""
    lines = []
    if state.partitions != partitions:
        lines.append(f"{topic.name}: has {state.partitions} partitions, wanted {partitions}; left as it is")
    if (state.cleanup, state.retention_ms) != (topic.cleanup, topic.retention_ms):
        present = _kept(state.cleanup, state.retention_ms)
        lines.append(
            f"{topic.name}: is {present}, wanted {_kept(topic.cleanup, topic.retention_ms)}; left as it is"
        )
    elif topic.cleanup == "compact" and state.tombstones_ms != REPLAY_HORIZON_MS:
        lines.append(
            f"{topic.name}: keeps tombstones for {_days(state.tombstones_ms or 0)},"
            f" wanted {_days(REPLAY_HORIZON_MS)}; left as it is"
        )
    return lines


def require(existing: Mapping[str, TopicState], needed: Sequence[Topic]) -> None:
    """Raise SetupError when a topic is missing."""
    missing = [topic.name for topic in needed if topic.name not in existing]
    if missing:
        raise SetupError(missing_message(missing))


def missing_message(names: Sequence[str]) -> str:
    """Return the line that says what to do about missing topics."""
    return f"the event log has no topic {', '.join(names)}: run `maeari topics apply`"


def _kept(cleanup: str, retention_ms: int | None) -> str:
    match cleanup:
        case "keep":
            return "kept for ever"
        case "compact":
            return "compacted"
        case "expire" if retention_ms is not None:
            return f"kept for {_days(retention_ms)}"
        case _:
            return f"cleaned up by {cleanup!r}"


def _days(duration_ms: int) -> str:
    return f"{duration_ms / DAY_MS:g} days"
