"""What is needed of topics, and how one that exists differs from the one that is wanted, in words for people.

Topics are named in full, with the prefix, as the outside and the brokers know them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from backbone.errors import SetupError
from backbone.eventlog import TopicState
from schemas.topics import DAY_MS, Topic

_UNITS = (("day", DAY_MS), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))


def require(existing: Collection[str], needed: Sequence[Topic], full_name: Callable[[str], str]) -> None:
    """Raise SetupError when a topic is missing among the bare names that exist."""
    missing = [full_name(topic.name) for topic in needed if topic.name not in existing]
    if missing:
        raise SetupError(missing_message(missing))


def missing_message(full_names: Sequence[str]) -> str:
    """Return the line that says what to do about missing topics."""
    return f"the event log has no topic {', '.join(full_names)}: run `maeari topics apply`"


def require_same_partitions(
    existing: Mapping[str, TopicState], topics: Sequence[Topic], full_name: Callable[[str], str]
) -> None:
    """Raise SetupError when topics that are consumed together have different numbers of partitions.

    One member of a group owns the same partition of all its topics, so that it alone meets a channel.
    """
    counts = {full_name(topic.name): existing[topic.name].partitions for topic in topics}
    if len(set(counts.values())) > 1:
        raise SetupError(
            f"topics that are consumed together have different numbers of partitions ({_listed(counts)}): "
            "make the few anew with as many as the others, see Topics in docs/operating.md"
        )


def partitions_of_new(existing: Collection[int], topics: int, wanted: int) -> int:
    """Return how many partitions a missing topic gets: as many as most of the `topics` have already.

    One or two that somebody else made, before there were others, decide nothing.
    """
    agreed = len(set(existing)) == 1 and 2 * len(existing) > topics
    return next(iter(existing)) if agreed else wanted


def made(full_name: str, topic: Topic, partitions: int, replication: int, *, dry_run: bool = False) -> str:
    """Return the line for a topic that was made, or would be."""
    copies = f", {replication} replicas" if replication > 1 else ""
    verb = "would be made" if dry_run else "made"
    how = kept(topic.cleanup, topic.retention_ms)
    return f"{full_name}: {verb} with {_partitions(partitions)}{copies}, {how}"


def changed(full_name: str, what: str, before: str, after: str, *, dry_run: bool = False) -> str:
    """Return the line for a change that was made to a topic, or would be."""
    return f"{full_name}: {what} {'would change' if dry_run else 'changed'} from {before} to {after}"


def partition_lines(existing: Mapping[str, int], new: Mapping[str, int], wanted: int) -> list[str]:
    """Return lines about numbers of partitions, by full name, that are not as wanted or not the same."""
    lines = [
        f"{name}: has {_partitions(number)}, wanted {wanted}; left as it is, or keys would change places"
        for name, number in existing.items()
        if number != wanted
    ]
    counts = {**existing, **new}
    if len(set(counts.values())) > 1:
        lines.append(
            f"the topics have different numbers of partitions ({_listed(counts)}): events of a channel are "
            "expected in the same partition of each topic, and consumers may refuse to start"
        )
    return lines


def kept(cleanup: str, retention_ms: int | None) -> str:
    """Return how the records of a topic are kept."""
    match cleanup:
        case "keep":
            return "kept for ever"
        case "compact":
            return "compacted"
        case "expire" if retention_ms is not None:
            return f"kept for {duration(retention_ms)}"
        case "unknown":
            return "cleaned up in a way that the brokers do not tell"
        case _:
            return f"cleaned up by {cleanup!r}"


def duration(duration_ms: int) -> str:
    """Return a duration in its largest whole unit, such as `7 days`."""
    for unit, unit_ms in _UNITS:
        number, rest = divmod(duration_ms, unit_ms)
        if number and not rest:
            return f"{number} {unit}{'s' * (number != 1)}"
    return f"{duration_ms} ms"


def _partitions(number: int) -> str:
    return f"{number} partition{'s' * (number != 1)}"


def _listed(counts: Mapping[str, int]) -> str:
    """Return the numbers with the topics that have them, the most frequent number last and not listed."""
    by_number: dict[int, list[str]] = {}
    for name, number in counts.items():
        by_number.setdefault(number, []).append(name)
    *few, (most, _) = sorted(by_number.items(), key=lambda item: len(item[1]))
    return "; ".join([f"{number}: {', '.join(names)}" for number, names in few] + [f"{most}: the others"])
