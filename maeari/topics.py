"""`maeari topics`: makes and alters the topics of the contract, or shows those that are there."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from backbone.eventlog import EventLog, Placement, TopicState
from backbone.eventlog.topic_state import duration, kept, missing_message
from backbone.settings import Settings
from backbone.wiring import open_ports
from maeari.columns import aligned, counted, sized
from schemas.topics import ALL_TOPICS

_HEAD = ("partition", "leader", "replicas", "in sync", "size", "earliest", "end", "records")


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition; None is what the log does not tell.

    `records` is the number of offsets from the earliest to the end: markers of transactions, and what a
    compaction has removed, are among them.
    """

    partition: int
    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    size_bytes: int | None
    earliest: int | None
    end: int | None
    records: int | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A topic by its full name, as it exists."""

    topic: str
    cleanup: str
    retention_ms: int | None
    tombstones_ms: int | None
    replication: int
    partitions: tuple[Partition, ...]


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """All topics under the prefix, those that are `missing`, and how many partitions each broker leads."""

    topics: tuple[Shown, ...]
    missing: tuple[str, ...]
    leaders: dict[int, int]


async def apply(settings: Settings, dry_run: bool) -> None:
    """Print a line for each change."""
    async with open_ports(settings) as ports:
        lines = await ports.eventlog.apply_topics(ALL_TOPICS, settings.partitions, dry_run=dry_run)
    sys.stdout.write("".join(f"{line}\n" for line in lines or ["nothing to do"]))


async def show(settings: Settings, as_json: bool) -> None:
    """Print the topics as they are."""
    async with open_ports(settings) as ports:
        found = described(ports.eventlog, await ports.eventlog.topics(sizes=True))
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(found)))


def described(eventlog: EventLog, states: Mapping[str, TopicState]) -> Topics:
    """Return what there is to show of the topics."""
    shown = tuple(_shown(eventlog.full_name(name), state) for name, state in sorted(states.items()))
    leaders = Counter(
        partition.leader for topic in shown for partition in topic.partitions if partition.leader is not None
    )
    for topic in shown:
        for partition in topic.partitions:
            leaders.update(dict.fromkeys(partition.replicas, 0))
    return Topics(
        topics=shown,
        missing=tuple(eventlog.full_name(topic.name) for topic in ALL_TOPICS if topic.name not in states),
        leaders=dict(sorted(leaders.items())),
    )


def lines(found: Topics) -> Iterator[str]:
    """Yield what people read."""
    for topic in found.topics:
        yield _heading(topic)
        rows = [_HEAD, *(_row(partition) for partition in topic.partitions)]
        yield from (f"  {line}" for line in aligned(rows, numbers_from=4))
    if found.leaders:
        spread = ", ".join(f"broker {broker}: {number}" for broker, number in found.leaders.items())
        yield f"partitions led: {spread}"
    if found.missing:
        yield missing_message(found.missing)


def _shown(full_name: str, state: TopicState) -> Shown:
    places = state.placements or (Placement(),) * state.partitions
    return Shown(
        topic=full_name,
        cleanup=state.cleanup,
        retention_ms=state.retention_ms,
        tombstones_ms=state.tombstones_ms,
        replication=state.replication,
        partitions=tuple(
            Partition(
                partition=number,
                leader=place.leader,
                replicas=place.replicas,
                in_sync=place.in_sync,
                size_bytes=place.size_bytes,
                earliest=earliest if earliest >= 0 else None,
                end=end if end >= 0 else None,
                records=end - earliest if min(earliest, end) >= 0 else None,
            )
            for number, (place, earliest, end) in enumerate(
                zip(places, state.earliest, state.end, strict=True)
            )
        ),
    )


def _heading(topic: Shown) -> str:
    how = kept(topic.cleanup, topic.retention_ms)
    if topic.tombstones_ms is not None:
        how += f", tombstones for {duration(topic.tombstones_ms)}"
    sizes = [partition.size_bytes for partition in topic.partitions]
    known = [size for size in sizes if size is not None]
    parts = [how, f"replication {topic.replication}"]
    if len(known) == len(sizes):
        parts.append(sized(sum(known)))
    return f"{topic.topic}: {', '.join(parts)}"


def _row(partition: Partition) -> tuple[str, ...]:
    return (
        str(partition.partition),
        "-" if partition.leader is None else str(partition.leader),
        ",".join(map(str, partition.replicas)) or "-",
        ",".join(map(str, partition.in_sync)) or "-",
        sized(partition.size_bytes),
        counted(partition.earliest),
        counted(partition.end),
        counted(partition.records),
    )
