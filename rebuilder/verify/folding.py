"""The folds of records: of each message the newest version read so far, as a narrow row without its text.

Guarantees: records may come in any order and any number of times; one that cannot be read, or that tells
a version otherwise than an earlier record, is named and never passed over in silence.
"""

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from sys import intern
from typing import NamedTuple

import msgspec

from backbone.errors import Poison
from backbone.eventlog import Record, TopicPartition
from backbone.eventlog.events import read_message_event
from indexer.projection import document_of_event
from rebuilder.contradictions import Version
from rebuilder.problems import UNREADABLE, Problem
from rebuilder.verify.canonical import (
    Facts,
    facts_of_event,
    facts_of_state,
    hash_of,
    hash_of_document,
    marks_of,
    marks_of_document,
)
from schemas.documents import SearchDocument
from schemas.topics import MESSAGES_CREATED, MESSAGES_DELETED, MESSAGES_UPDATED

PROBLEMS_NAMED = 20


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Details(NamedTuple):
    """What is kept beside a row where messages are named: see canonical.marks_of."""

    marks: bytes
    as_indexed: bytes = b""
    place: Place | None = None


class Row(NamedTuple):
    """A version of a message: its hash, and the hash of what an index holds of it (0 where nobody asks).

    `topic` is the topic of the event that made it; `deleted_at` when it was deleted, where it was.
    """

    version: int
    hashed: int
    channel: str
    topic: str
    deleted_at: str | None
    indexed: int = 0
    details: Details | None = None

    @property
    def whole(self) -> Version:
        """The version as all stores but the index hold it."""
        return Version(self.version, self.hashed, self.channel)

    @property
    def as_indexed(self) -> Version:
        """The version as the index holds it."""
        return Version(self.version, self.indexed, self.channel)


Rows = Mapping[str, Row]


def topic_of(sequence: int, version: int, deleted: bool) -> str:
    """Return the topic of the event that made a version."""
    if deleted:
        return MESSAGES_DELETED.name
    return (MESSAGES_CREATED if sequence == version else MESSAGES_UPDATED).name


def row_of(message_id: str, facts: Facts, details: Details | None = None, indexed: int = 0) -> Row:
    """Return the row of a message that a store holds whole."""
    return Row(
        version=facts.version,
        hashed=hash_of(message_id, facts),
        channel=intern(facts.channel),
        topic=topic_of(facts.sequence, facts.version, facts.deleted),
        deleted_at=facts.deleted_at,
        indexed=indexed,
        details=details,
    )


def row_of_document(message_id: str, document: SearchDocument) -> Row:
    """Return the row of a message that an index holds."""
    marks = marks_of_document(document)
    hashed = hash_of_document(message_id, document)
    return Row(
        version=document.version,
        hashed=hashed,
        channel=intern(document.channel),
        topic=topic_of(document.sequence, document.version, document.deleted),
        deleted_at=document.updated_at if document.deleted else None,
        indexed=hashed,
        details=Details(marks, marks),
    )


@dataclass
class Problems:
    """Records that are wrong: the first of them by name, and how many there are."""

    count: int = 0
    named: list[Problem] = field(default_factory=list)

    def note(self, record: Record, reason: str) -> None:
        """Count in what is wrong with a record."""
        self.add(Problem(topic=record.topic, partition=record.partition, offset=record.offset, reason=reason))

    def add_all(self, others: "Problems") -> None:
        """Count in what was counted elsewhere."""
        self.count += others.count
        self.named += others.named[: PROBLEMS_NAMED - len(self.named)]

    def add(self, problem: Problem) -> None:
        """Count one in."""
        self.count += 1
        if len(self.named) < PROBLEMS_NAMED:
            self.named.append(problem)


@dataclass
class EventFold:
    """The fold of events. With `channels` only messages of these are kept, and with details.

    `whole_from` says from which offset on nothing of a partition lacks; `first` is then the first version
    that was read from there, by channel and topic, for partitions that lack something.
    """

    channels: Collection[str] | None = None
    whole_from: Mapping[TopicPartition, int] = field(default_factory=dict)
    rows: MutableMapping[str, Row] = field(default_factory=dict)
    first: dict[tuple[str, str], int] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    records: int = 0
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    """Behind the last record that was read; the ends of the log lie behind what holds no record, too."""

    def take(self, record: Record) -> None:
        """Fold one record in."""
        self.records += 1
        self.ends[record.topic_partition] = record.offset + 1
        try:
            event = read_message_event(record)
        except Poison as error:
            self.problems.note(record, f"{UNREADABLE}: {error}")
            return
        facts, (message_id, document) = facts_of_event(event), document_of_event(event)
        if self.channels is not None and facts.channel not in self.channels:
            return
        self._note_first(record, facts)
        known = self.rows.get(message_id)
        if known is not None and facts.version < known.version:
            return
        details = None
        if self.channels is not None:
            place = Place(record.topic, record.partition, record.offset)
            details = Details(marks_of(facts), marks_of_document(document), place)
        row = row_of(message_id, facts, details, hash_of_document(message_id, document))
        if known is None or known.version < row.version:
            self.rows[intern(message_id)] = row
        elif known.hashed != row.hashed:
            reason = f"{message_id} version {row.version} reads otherwise in an earlier record"
            self.problems.note(record, reason)

    def _note_first(self, record: Record, facts: Facts) -> None:
        whole_from = self.whole_from.get(record.topic_partition, 0)
        if whole_from and record.offset >= whole_from:
            key = (facts.channel, record.topic)
            self.first[key] = min(self.first.get(key, facts.version), facts.version)

    def may_lack(self, row: Row, partition: int) -> bool:
        """Say whether a version that was not read may be among what the partition lacks."""
        if not self.whole_from.get(TopicPartition(row.topic, partition), 0):
            return False
        first = self.first.get((row.channel, row.topic))
        return first is None or row.version < first


@dataclass
class StateFold:
    """The fold of the compacted topic; see EventFold."""

    channels: Collection[str] | None = None
    rows: MutableMapping[str, Row] = field(default_factory=dict)
    tombstones: set[str] = field(default_factory=set)
    problems: Problems = field(default_factory=Problems)
    records: int = 0

    def take(self, record: Record) -> None:
        """Fold one record in; behind a tombstone there is nothing."""
        self.records += 1
        if record.value is None:
            if record.key is not None:
                self.rows.pop(record.key, None)
                self.tombstones.add(record.key)
            return
        try:
            message_id, facts = facts_of_state(record.value)
        except msgspec.DecodeError as error:
            self.problems.note(record, f"{UNREADABLE}: {error}")
            return
        if record.key != message_id:
            # Compaction would keep it beside the states of its message, or take another's away.
            self.problems.note(record, f"{UNREADABLE}: it is of {message_id} and keyed otherwise")
            return
        if self.channels is not None and facts.channel not in self.channels:
            return
        known = self.rows.get(message_id)
        if known is None or known.version < facts.version:
            details = None
            if self.channels is not None:
                place = Place(record.topic, record.partition, record.offset)
                details = Details(marks_of(facts), b"", place)
            self.rows[intern(message_id)] = row_of(message_id, facts, details)
