"""The report of a comparison, out of what the sweep and the looks found. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backbone.eventlog import TopicPartition
from rebuilder.digest import Digests
from rebuilder.verify.judging import ARCHIVE, DATABASE, INDEX, LOG, STATE
from rebuilder.verify.looks import Outcome
from rebuilder.verify.naming import difference
from rebuilder.verify.report import Damage, Difference, NotCompared, Report, StoreReport
from rebuilder.verify.report import Outcome as Result
from rebuilder.verify.sweep import Found, channels_of
from schemas.topics import MESSAGES_STATE

DIFFERENCES_NAMED = 20
DIGESTS_NAMED = 100
NOT_ARCHIVED = "not archived"

Offsets = Mapping[TopicPartition, int]


@dataclass
class Differences:
    """The messages that differ: the first by name; and how many the index has yet to apply."""

    named: list[Difference] = field(default_factory=list)
    messages: int = 0
    channels: set[str] = field(default_factory=set)
    unapplied: int = 0

    def note(self, outcome: Outcome) -> None:
        """Count in what looks found."""
        for message_id in sorted(outcome.wrong):
            named = difference(outcome.holdings, message_id, outcome.wrong[message_id])
            self.channels.add(named.channel)
            if len(self.named) < DIFFERENCES_NAMED:
                self.named.append(named)
        self.messages += len(outcome.wrong)
        self.unapplied += len(outcome.unapplied)


@dataclass(frozen=True)
class Measured:
    """What was asked of the stores at the end: where they are, how far, and where the log begins."""

    earliest: Offsets
    committed: Offsets
    untold: int
    sources: Mapping[str, str]


def sum_up(
    found: Found, suspects: set[str], differences: Differences, measured: Measured, *, every_digest: bool
) -> Report:
    """Return the report; `seconds` is yet to be filled in."""
    stores = tuple(_stores(found, measured))
    damaged = tuple(_damaged(found, measured))
    channels = sorted(suspects) + sorted(_channels(found) - suspects)
    named = channels if every_digest else channels[:DIGESTS_NAMED]
    return Report(
        outcome=_result(found, differences, damaged, stores),
        stores=stores,
        differences=tuple(differences.named),
        differing_messages=differences.messages,
        differing_channels=len(differences.channels),
        damaged=damaged,
        problems=tuple(found.problems.named),
        problem_count=found.problems.count,
        not_compared=tuple(_not_compared(found, measured)),
        unapplied_messages=differences.unapplied,
        digests=channels_of(found, named),
        digests_left_out=len(channels) - len(named),
        seconds=0.0,
    )


def _result(
    found: Found, differences: Differences, damaged: tuple[Damage, ...], stores: tuple[StoreReport, ...]
) -> Result:
    if differences.messages or damaged or found.problems.count:
        return "different"
    return "behind" if any(store.behind for store in stores) else "equal"


def _channels(found: Found) -> set[str]:
    stores = (found.database, found.log, found.index, found.state, found.archive or Digests())
    return {name for digests in stores for name in digests.names()}


def _stores(found: Found, measured: Measured) -> Iterator[StoreReport]:
    read = {place: at for place, at in found.read.items() if place.topic != MESSAGES_STATE.name}
    states = {place: at for place, at in found.read.items() if place.topic == MESSAGES_STATE.name}
    sources = measured.sources
    yield _store(DATABASE, found.database, sources[DATABASE])
    records = found.records.get(LOG, 0)
    yield _store(LOG, found.log, sources[LOG], offsets=read, records=records, behind=measured.untold)
    records = found.records.get(STATE, 0)
    yield _store(STATE, found.state, sources[STATE], offsets=states, records=records)
    unapplied = sum(
        max(0, end - max(measured.committed.get(place, 0), measured.earliest.get(place, 0)))
        for place, end in found.ends.items()
    )
    yield _store(INDEX, found.index, found.index_name, offsets=measured.committed, behind=unapplied)
    if found.archive is None:
        yield StoreReport(name=ARCHIVE, compared=False, source=sources.get(ARCHIVE), note=NOT_ARCHIVED)
        return
    ends = {place: coverage.end for place, coverage in found.coverage.items()}
    waiting = sum(last - first + 1 for _, first, last in _unarchived(found, measured))
    records = found.records.get(ARCHIVE, 0)
    yield _store(ARCHIVE, found.archive, sources.get(ARCHIVE), offsets=ends, records=records, behind=waiting)


def _store(
    name: str,
    digests: Digests,
    source: str | None = None,
    *,
    offsets: Offsets | None = None,
    records: int | None = None,
    behind: int = 0,
) -> StoreReport:
    by_topic: dict[str, list[int]] = {}
    for place in sorted(offsets or {}):
        by_topic.setdefault(place.topic, []).append((offsets or {})[place])
    return StoreReport(
        name=name,
        source=source,
        channels=digests.channels,
        messages=digests.messages,
        deleted=digests.deleted,
        records=records,
        behind=behind,
        offsets=by_topic,
    )


def _unarchived(found: Found, measured: Measured) -> Iterator[tuple[TopicPartition, int, int]]:
    """Yield which offsets of the log are not archived yet."""
    for place, end in sorted(found.ends.items()):
        coverage = found.coverage.get(place)
        first = max(coverage.end if coverage else 0, measured.earliest.get(place, 0))
        if first < end:
            yield place, first, end - 1


def _damaged(found: Found, measured: Measured) -> Iterator[Damage]:
    for place, coverage in sorted(found.coverage.items()):
        for hole in coverage.holes:
            if not hole.lost:
                yield Damage(
                    store=ARCHIVE,
                    topic=place.topic,
                    partition=place.partition,
                    first=hole.first,
                    last=hole.last,
                    why=hole.why,
                )


def _not_compared(found: Found, measured: Measured) -> Iterator[NotCompared]:
    for place, begin in sorted(measured.earliest.items()):
        coverage = found.coverage.get(place)
        lacking = coverage.lacking(begin) if coverage else [(0, begin - 1)] if begin else []
        for first, last in lacking:
            yield _cut(LOG, place, first, last, "the log no longer has them, nor has the archive")
    if found.archive is None:
        return
    for place, coverage in sorted(found.coverage.items()):
        for hole in coverage.holes:
            if hole.lost:
                yield _cut(ARCHIVE, place, hole.first, hole.last, hole.why)
    for place, first, last in _unarchived(found, measured):
        yield _cut(ARCHIVE, place, first, last, "not archived yet")


def _cut(store: str, place: TopicPartition, first: int, last: int, why: str) -> NotCompared:
    return NotCompared(
        store=store, topic=place.topic, partition=place.partition, first=first, last=last, why=why
    )
