"""What a group has parked in one partition of `dead-letters`: a fold of its records, in their order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY, Record
from backbone.eventlog.parking.letters import Source, named, read
from schemas.dead_letters import DeadLetter, LetterRequest

UNKNOWN_OFFSET = -1


def require_offsets(letters: Mapping[Source, int]) -> None:
    """Raise Unavailable while letters that were just written are not read yet."""
    if UNKNOWN_OFFSET in letters.values():
        raise Unavailable(DEPENDENCY, "letters that were just written are not read yet")


class Asked(NamedTuple):
    """A request and its offset, with the letters that it names; None where it means the whole key."""

    request: LetterRequest
    offset: int
    sources: tuple[Source, ...] | None

    @classmethod
    def of(cls, request: LetterRequest, offset: int) -> "Asked":
        return cls(request, offset, None if request.sources is None else named(request.sources))


@dataclass(slots=True)
class Ledger:
    """The letters that live, each under its source with its offset here, and the requests about them.

    `dealt_with` are letters whose end was seen: a record of theirs that is read again is nothing new.
    """

    group: str
    by_key: dict[str, dict[Source, int]] = field(default_factory=dict)
    """The letters of keys that are stopped, in order."""
    alone: dict[Source, tuple[str, int]] = field(default_factory=dict)
    """The letters that stop nothing, with their ordering key."""
    requests: dict[str, Asked] = field(default_factory=dict)
    """What is asked for, by id."""
    dealt_with: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    """Offsets by topic and partition."""
    _key_of: dict[Source, str] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Fold one record in; those of other groups change nothing."""
        if not (record.key or "").startswith(f"{self.group}/"):
            return
        match read(record):
            case DeadLetter() as letter:
                self.put(Source.of_letter(letter), letter.ordering_key, letter.alone, record.offset)
            case LetterRequest(outcome=None) as request:
                self.requests[request.request_id] = Asked.of(request, record.offset)
            case Source() as source:
                self.remove(source)
            case str() as request_id:
                self.requests.pop(request_id, None)
            case LetterRequest() | None:
                pass

    def put(self, source: Source, ordering_key: str, alone: bool, offset: int = UNKNOWN_OFFSET) -> None:
        """Note a letter, whose offset may be told later; one that is written anew is the last of its key."""
        if self.by_key.get(ordering_key, {}).get(source) != UNKNOWN_OFFSET:
            self._take_out(source)
        if alone:
            self.alone[source] = (ordering_key, offset)
        else:
            self.by_key.setdefault(ordering_key, {})[source] = offset
            self._key_of[source] = ordering_key

    def remove(self, source: Source) -> None:
        """Note that a letter is dealt with; a key without letters is not stopped any more."""
        self.dealt_with.setdefault((source.topic, source.partition), set()).add(source.offset)
        self._take_out(source)

    def _take_out(self, source: Source) -> None:
        self.alone.pop(source, None)
        key = self._key_of.pop(source, None)
        if key is not None:
            letters = self.by_key[key]
            del letters[source]
            if not letters:
                del self.by_key[key]

    def knows(self, source: Source) -> bool:
        """Whether the record is parked, or was and is dealt with."""
        if source in self._key_of or source in self.alone:
            return True
        return source.offset in self.dealt_with.get((source.topic, source.partition), ())

    def forget_before(self, topic: str, partition: int, offset: int) -> None:
        """Forget what is dealt with of records that are not read again."""
        offsets = self.dealt_with.pop((topic, partition), None)
        if offsets:
            left = {each for each in offsets if each >= offset}
            if left:
                self.dealt_with[topic, partition] = left

    @property
    def blank(self) -> bool:
        """Whether nothing is known of any record."""
        return not (self._key_of or self.alone or self.dealt_with)

    @property
    def size(self) -> int:
        """How many letters live."""
        return len(self._key_of) + len(self.alone)

    def queue(self, ordering_key: str) -> Mapping[Source, int]:
        """Return the letters of a key that wait for one another, in order, with their offsets."""
        return self.by_key.get(ordering_key, {})

    def queued(self, asked: Asked) -> Mapping[Source, int]:
        """Return the letters of the key's queue that a request is about, in order, with their offsets."""
        queue = self.queue(asked.request.ordering_key)
        if asked.sources is None:
            return queue
        found = {source: queue[source] for source in asked.sources if source in queue}
        require_offsets(found)
        return dict(sorted(found.items(), key=itemgetter(1)))

    def standing_alone(self, asked: Asked) -> dict[Source, int]:
        """Return the letters beside the queue that a request names, in order, with their offsets."""
        named_ones = ((source, self.alone[source]) for source in asked.sources or () if source in self.alone)
        found = {source: offset for source, (key, offset) in named_ones if key == asked.request.ordering_key}
        return dict(sorted(found.items(), key=itemgetter(1)))
