"""Which stores hold of a message what they could not hold, had they lost nothing. Pure.

A store is looked at between two readings of the log: what it holds must be between the two. What the log
and the archive lack, what was purged, and what a store has yet to apply, excuses exactly what it can explain.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from backbone.eventlog import TopicPartition
from rebuilder.contradictions import contradicts
from rebuilder.verify.folding import EventFold, Row, Rows
from rebuilder.verify.reading import Coverage
from schemas.topics import partition_of

DATABASE, LOG, STATE, INDEX, ARCHIVE = "database", "log", "state", "index", "archive"


@dataclass(frozen=True)
class Holdings:
    """What was found of the messages of some channels.

    `early` is the log as it was before the other stores were read, `late` as it was after that, and `untold`
    what the outbox held in between. `past` is what only the archive has any more. `applied` are the offsets
    that the indexer had committed before the index was read, `coverage` what could be read of the archive,
    None where there is none. What was deleted before `purged_before` neither index nor states need hold, nor
    the database of channels that it got back from states: up to the versions in `history_lost`.
    """

    early: Rows
    late: Rows
    untold: Rows
    past: Rows
    database: Rows
    state: Rows
    index: Rows
    archive: Rows
    tombstones: Collection[str]
    applied: Mapping[TopicPartition, int]
    earliest: Mapping[TopicPartition, int]
    coverage: Mapping[TopicPartition, Coverage] | None
    history_lost: Mapping[str, int]
    purged_before: str
    partitions: int
    fold: EventFold


@dataclass
class Verdict:
    """What is wrong, by message and store, and of which messages the index has yet to apply which version."""

    wrong: dict[str, frozenset[str]] = field(default_factory=dict)
    unapplied: dict[str, int] = field(default_factory=dict)


def judge(holdings: Holdings, of: Collection[str] | None, due: Mapping[str, int]) -> Verdict:
    """Judge some messages, or all that are known of.

    `due` are the versions that the index was yet to apply at an earlier look: newer ones do not matter.
    """
    verdict = Verdict()
    stores = (
        holdings.late,
        holdings.database,
        holdings.state,
        holdings.index,
        holdings.archive,
        holdings.past,
    )
    for message_id in set().union(*stores) if of is None else of:
        wrong = frozenset(_wrong(holdings, message_id))
        if wrong:
            verdict.wrong[message_id] = wrong
        version = _unapplied(holdings, message_id)
        if version is not None and INDEX not in wrong:
            target = due.get(message_id, version)
            held = holdings.index.get(message_id)
            if held is None or held.version < target:
                verdict.unapplied[message_id] = target
    return verdict


def _wrong(holdings: Holdings, message_id: str) -> Iterator[str]:
    early = _newer(holdings.early.get(message_id), holdings.past.get(message_id))
    late = _newer(holdings.late.get(message_id), holdings.past.get(message_id))

    def excused(held: Row | None, newest: Row | None) -> bool:
        if held is None or (newest is not None and newest.version >= held.version):
            return False
        return holdings.fold.may_lack(held, partition_of(held.channel, holdings.partitions))

    held = holdings.database.get(message_id)
    newest = _newer(late, holdings.untold.get(message_id))
    explained = excused(held, newest) and not _state_knows_better(holdings, message_id)
    if _contradicts(early, held, newest) and not (explained or _did_not_come_back(holdings, held, newest)):
        yield DATABASE
    held = holdings.state.get(message_id)
    if _state_is_wrong(holdings, message_id, early, late) and not excused(held, late):
        yield STATE
    held = holdings.index.get(message_id)
    if _index_is_wrong(holdings, early, held, late) and not excused(held, late):
        yield INDEX
    if holdings.coverage is not None and _archive_is_wrong(holdings, message_id):
        yield ARCHIVE


def _contradicts(early: Row | None, held: Row | None, late: Row | None) -> bool:
    return contradicts(early and early.whole, held and held.whole, late and late.whole)


def _newer(one: Row | None, other: Row | None) -> Row | None:
    """Return the newer of two; of equals the first."""
    if one is None or other is None:
        return one or other
    return other if other.version > one.version else one


def _state_is_wrong(holdings: Holdings, message_id: str, early: Row | None, late: Row | None) -> bool:
    held = holdings.state.get(message_id)
    if held is None and message_id in holdings.tombstones and late is not None and late.deleted_at:
        return False
    early, held, late = (_kept(holdings, row) for row in (early, held, late))
    return _contradicts(early, held, late)


def _did_not_come_back(holdings: Holdings, held: Row | None, newest: Row | None) -> bool:
    """Say whether the database lacks a message because no state told of it any more when it was rebuilt."""
    if held is not None or newest is None or _kept(holdings, newest) is not None:
        return False
    return newest.version <= holdings.history_lost.get(newest.channel, 0)


def _state_knows_better(holdings: Holdings, message_id: str) -> bool:
    """Say whether the states, which outlive events, tell a row of the past otherwise."""
    held, state = holdings.database.get(message_id), holdings.state.get(message_id)
    if held is None:
        return False
    if state is None:
        return held.deleted_at is None
    return state.version > held.version or (state.version == held.version and state.hashed != held.hashed)


def _index_is_wrong(holdings: Holdings, early: Row | None, held: Row | None, late: Row | None) -> bool:
    early, held, late = (_kept(holdings, row) for row in (early, held, late))
    if early is not None and not _is_applied(holdings, early):
        early = None
    return contradicts(early and early.as_indexed, held and held.as_indexed, late and late.as_indexed)


def _unapplied(holdings: Holdings, message_id: str) -> int | None:
    """Return the version that the index has yet to apply, None where there is none."""
    early = _kept(holdings, holdings.early.get(message_id))
    return None if early is None or _is_applied(holdings, early) else early.version


def _is_applied(holdings: Holdings, row: Row) -> bool:
    place = row.details and row.details.place
    if not place:
        return True
    return place.offset < holdings.applied.get(TopicPartition(place.topic, place.partition), 0)


def _kept(holdings: Holdings, row: Row | None) -> Row | None:
    """Return the row, None where it was deleted so long ago that it may be gone."""
    gone = row is not None and row.deleted_at is not None and row.deleted_at < holdings.purged_before
    return None if gone else row


def _archive_is_wrong(holdings: Holdings, message_id: str) -> bool:
    held, late = holdings.archive.get(message_id), holdings.late.get(message_id)
    if held is not None and (late is None or held.version > late.version):
        return not _is_trimmed(holdings, held)
    if late is None or (held is not None and held.version == late.version):
        return held is not None and late is not None and held.hashed != late.hashed
    place = late.details and late.details.place
    coverage = holdings.coverage or {}
    part = coverage.get(TopicPartition(place.topic, place.partition)) if place else None
    return part is not None and place is not None and part.holds(place.offset)


def _is_trimmed(holdings: Holdings, row: Row) -> bool:
    """Say whether the log has dropped the record, which the archive still has."""
    place = row.details and row.details.place
    return place is not None and place.offset < holdings.earliest.get(
        TopicPartition(place.topic, place.partition), 0
    )
