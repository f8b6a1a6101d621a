"""`maeari lag`: how far each consumer group is behind, and how fast it reads what comes in.

Reads only. Rates are those between two looks at the log, about a second apart, or with `--watch` one refresh.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, TopicPartition, TopicState
from backbone.eventlog.topic_state import require
from backbone.settings import Settings
from backbone.wiring import open_ports
from maeari.columns import aligned, counted
from maeari.parked import ParkedCount, ParkedCounts
from schemas.topics import GROUP_ARCHIVER, GROUP_INDEXER, GROUP_NOTIFIER, GROUP_OF_SENDER, TOPICS_OF_GROUP

SAMPLE_S = 1.0
REFRESH_S = 2.0

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


class PartitionLag(msgspec.Struct, frozen=True, kw_only=True):
    """`lag` is what lies from the committed offset, or the earliest one, to the end.

    None is what the log does not tell: a partition without a leader has no end.
    """

    topic: str
    partition: int
    committed: int
    end: int | None
    lag: int | None
    in_per_s: float | None
    out_per_s: float


class GroupLag(msgspec.Struct, frozen=True, kw_only=True):
    """One group; its totals are of the partitions that are known."""

    group: str
    members: int
    lag: int
    in_per_s: float
    out_per_s: float
    parked_keys: int
    parked_records: int
    partitions: tuple[PartitionLag, ...]


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """All groups at a moment; the rates are over the `sample_s` before it."""

    at: str
    sample_s: float
    groups: tuple[GroupLag, ...]


class Look(NamedTuple):
    """What one look at the log found; `at_s` is of a clock that only goes forward."""

    at_s: float
    topics: Mapping[str, TopicState]
    committed: Mapping[str, Mapping[TopicPartition, int]]
    members: Mapping[str, int]
    parked: Mapping[str, ParkedCount]


async def run(settings: Settings, group: str | None, as_json: bool, watch: bool) -> None:
    """Print the lag of one group or of all, once or until interrupted."""
    groups = [group] if group else in_use(settings)
    async with open_ports(settings) as ports:
        async for lag in samples(ports.eventlog, groups, REFRESH_S if watch else None):
            text = msgspec.json.encode(lag).decode() + "\n" if as_json else table(lag)
            if watch and not as_json:
                text = f"{_CLEAR}{text}" if sys.stdout.isatty() else f"{text}\n"
            sys.stdout.write(text)
            sys.stdout.flush()


def in_use(settings: Settings) -> list[str]:
    """Return the groups that are: what is not in use reads nothing, and is behind nothing."""
    groups = [GROUP_INDEXER, GROUP_NOTIFIER, *(GROUP_OF_SENDER[sender] for sender in settings.senders)]
    # On files `maeari dev` archives, too; on servers those do who say where to.
    if settings.archive.chosen or settings.eventlog_url.startswith("embedded:"):
        groups.append(GROUP_ARCHIVER)
    return groups


async def samples(eventlog: EventLog, groups: Sequence[str], refresh_s: float | None) -> AsyncIterator[Lag]:
    """Yield the lag once, or every `refresh_s` from then on, whatever fails in between."""
    counts = ParkedCounts(eventlog, groups)
    try:
        before = await look(eventlog, groups, counts)
        pause_s = SAMPLE_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                now = await look(eventlog, groups, counts)
            except Unavailable as error:
                if refresh_s is None:
                    raise
                sys.stderr.write(f"maeari: {error}; trying again\n")
            else:
                yield between(before, now, eventlog)
                before = now
            if refresh_s is None:
                return
            pause_s = refresh_s
    finally:
        await counts.close()


async def look(eventlog: EventLog, groups: Sequence[str], counts: ParkedCounts) -> Look:
    """Look at the log once. Raises Unavailable, or SetupError where topics are missing."""
    # What was committed is asked for first: it is never past the end that is asked for later.
    committed = {group: await eventlog.committed(group, TOPICS_OF_GROUP[group]) for group in groups}
    members = {group: await eventlog.members(group) for group in groups}
    states = await eventlog.topics()
    for group in groups:
        require(states, TOPICS_OF_GROUP[group], eventlog.full_name)
    return Look(time.monotonic(), states, committed, members, await counts.look())


def between(before: Look, now: Look, eventlog: EventLog) -> Lag:
    """Return the lag at the second look, with the rates since the first."""
    sample_s = now.at_s - before.at_s
    groups = []
    for group, committed in now.committed.items():
        partitions = tuple(
            _partition(place, eventlog.full_name(place.topic), before, now, group) for place in committed
        )
        groups.append(
            GroupLag(
                group=group,
                members=now.members[group],
                lag=sum(partition.lag or 0 for partition in partitions),
                in_per_s=round(sum(partition.in_per_s or 0.0 for partition in partitions), 1),
                out_per_s=round(sum(partition.out_per_s for partition in partitions), 1),
                parked_keys=now.parked[group].keys,
                parked_records=now.parked[group].records,
                partitions=partitions,
            )
        )
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Lag(at=at, sample_s=round(sample_s, 3), groups=tuple(groups))


def table(lag: Lag) -> str:
    """Return what people read of one sample: a table for each group, an empty line between them."""
    return "\n".join("".join(f"{line}\n" for line in lines(group)) for group in lag.groups)


def lines(group: GroupLag) -> Iterator[str]:
    """Yield what people read of one group."""
    yield (
        f"{group.group}: {group.members} member{'s' * (group.members != 1)}, lag {counted(group.lag)}, "
        f"in {_rate(group.in_per_s)}/s, out {_rate(group.out_per_s)}/s{_parked(group)}"
    )
    rows = [("topic", "partition", "committed", "end", "lag", "in/s", "out/s")]
    rows += [
        (
            partition.topic,
            str(partition.partition),
            counted(partition.committed),
            counted(partition.end),
            counted(partition.lag),
            _rate(partition.in_per_s),
            _rate(partition.out_per_s),
        )
        for partition in group.partitions
    ]
    yield from (f"  {line}" for line in aligned(rows, numbers_from=1))


def _parked(group: GroupLag) -> str:
    if not group.parked_records:
        return ""
    keys = f"{group.parked_keys} key{'s' * (group.parked_keys != 1)}"
    return f", {keys} stopped with {counted(group.parked_records)} parked"


def _partition(place: TopicPartition, full_name: str, before: Look, now: Look, group: str) -> PartitionLag:
    committed, end = now.committed[group][place], _end(now, place)
    old_committed, old_end = before.committed[group].get(place, committed), _end(before, place)
    sample_s = now.at_s - before.at_s
    start = max(committed, now.topics[place.topic].earliest[place.partition])
    return PartitionLag(
        topic=full_name,
        partition=place.partition,
        committed=committed,
        end=end,
        lag=None if end is None else max(0, end - start),
        in_per_s=None if end is None or old_end is None else round(max(0, end - old_end) / sample_s, 1),
        out_per_s=round(max(0, committed - old_committed) / sample_s, 1),
    )


def _end(look_: Look, place: TopicPartition) -> int | None:
    ends = look_.topics[place.topic].end
    return ends[place.partition] if place.partition < len(ends) and ends[place.partition] >= 0 else None


def _rate(per_s: float | None) -> str:
    if per_s is None:
        return "-"
    return f"{per_s:,.1f}" if per_s < 100 else f"{per_s:,.0f}"
