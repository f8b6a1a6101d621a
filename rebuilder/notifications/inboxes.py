"""One user's inbox put right: what stands in it, what was sent, and what is to be there. Pure.

Guarantees: what results is what the log says, numbered without a gap. A number that a row or a sent record
has is kept, as long as all numbers are known and none is of something that should not be there; else the
inbox is numbered anew, in the order in which things happened, in another epoch.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

from backbone.mailbox import NOTIFICATION, RETRACTED
from schemas.notifications import Reason


class About(NamedTuple):
    """What tells the notifications of a user apart."""

    message_id: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the inbox; moments in epoch ms."""

    user_id: str
    seq: int
    kind: str
    notification_id: str
    message_id: str
    channel_id: str
    reason: Reason
    title: str | None
    body: str | None
    created_at: int
    read_at: int | None
    retracted: bool
    muted: bool
    muted_by: str | None

    @property
    def about(self) -> About:
        return About(self.message_id, self.reason)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A notification that is to be there; it is taken back `for_good` where its message is deleted."""

    entry: Entry
    for_good: bool


@dataclass(frozen=True, slots=True)
class Counter:
    """Where an inbox stands: its epoch, the last number given, the last one read, and when that was."""

    epoch: int = 1
    last_seq: int = 0
    read_up_to: int = 0
    read_at: int | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """All that is known of a user's inbox: `live` rows, records `sent` in this epoch, and what is `wanted`.

    What is there of messages that the notifier is `late` with may be right though it is not wanted; and
    anything where the log is not `whole`.
    """

    counter: Counter
    live: Sequence[Entry]
    sent: Sequence[Entry]
    wanted: Mapping[About, Wanted]
    late: Collection[str] = frozenset()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Righted:
    """What an inbox is to become: `put` are rows that come back or change, with their numbers.

    What is to be taken back, `withdraw`, takes the next ones. Where the numbers are given `anew`, `put` is
    the whole inbox.
    """

    counter: Counter
    anew: bool
    put: tuple[Entry, ...] = ()
    withdraw: tuple[Entry, ...] = ()
    recount: bool = False
    missing: int = 0
    unwanted: int = 0

    @property
    def nothing(self) -> bool:
        """Whether the inbox is right as it is."""
        return not (self.anew or self.put or self.withdraw or self.recount)

    def __str__(self) -> str:
        counted = {
            "not there": self.missing,
            "not from the log": self.unwanted,
            "rows that are lost or not the same": 0 if self.anew else len(self.put),
            "not taken back": len(self.withdraw),
        }
        found = [f"{what}: {number:,}" for what, number in counted.items() if number]
        return ", ".join(found) or ("its counter is not the same" if self.recount else "numbers are lost")


def righted(holding: Holding) -> Righted:
    """Return what is to become of an inbox."""
    known = _known(holding)
    kept = [each for each in known if _justified(each, holding)]
    missing = list(_missing(holding, kept, known))
    last = max(holding.counter.last_seq, kept[-1].seq if kept else 0)
    if missing or len(kept) < len(known) or [each.seq for each in kept] != list(range(1, last + 1)):
        righted_anew = _anew(holding, kept, missing)
        return replace(righted_anew, missing=len(missing), unwanted=len(known) - len(kept))
    taken_back = {each.about for each in kept if each.kind == RETRACTED}
    before = {each.seq: each for each in holding.live}
    put = (_with_its_number(each, holding, each.about in taken_back, before.keys()) for each in kept)
    return Righted(
        counter=replace(holding.counter, last_seq=last),
        anew=False,
        recount=holding.counter.last_seq < last,
        put=tuple(each for each in put if before.get(each.seq) != each),
        withdraw=tuple(each for each in kept if each.about not in taken_back and _to_withdraw(each, holding)),
    )


def _known(holding: Holding) -> list[Entry]:
    """Return the rows, and what was sent beside them, by number: of two under one number the row counts."""
    found = {each.seq: each for each in holding.live}
    held = {(each.kind, each.about) for each in holding.live}
    for each in holding.sent:
        if each.seq not in found and (each.kind, each.about) not in held:
            found[each.seq] = each
            held.add((each.kind, each.about))
    return [found[seq] for seq in sorted(found)]


def _justified(entry: Entry, holding: Holding) -> bool:
    """Say whether the log has a reason for an entry, or may have one."""
    if not holding.whole or entry.message_id in holding.late:
        return True
    wanted = holding.wanted.get(entry.about)
    if wanted is None:
        return False
    return wanted.entry.retracted or not (entry.retracted or entry.kind == RETRACTED)


def _missing(holding: Holding, kept: Sequence[Entry], known: Sequence[Entry]) -> Iterator[Entry]:
    """Yield what is to be there and is not, without a number, under the id that it had if that is known."""
    there = {each.about for each in kept if each.kind == NOTIFICATION}
    ids = {each.about: each.notification_id for each in known}
    for about, wanted in holding.wanted.items():
        if about not in there and about.message_id not in holding.late:
            known_as = ids.get(about, wanted.entry.notification_id)
            yield replace(wanted.entry, seq=0, notification_id=known_as)


def _to_withdraw(entry: Entry, holding: Holding) -> bool:
    """Say whether an entry that stands is to be taken back; of what was read only for good."""
    wanted = holding.wanted.get(entry.about)
    if entry.kind != NOTIFICATION or entry.retracted or entry.message_id in holding.late:
        return False
    if wanted is None or not wanted.entry.retracted:
        return False
    return wanted.for_good or entry.seq > holding.counter.read_up_to


def _with_its_number(entry: Entry, holding: Holding, taken_back: bool, live: Collection[int]) -> Entry:
    """Return an entry as its row is to be."""
    if entry.kind != NOTIFICATION:
        return entry
    if entry.seq not in live and entry.seq <= holding.counter.read_up_to:
        entry = replace(entry, read_at=holding.counter.read_at)
    return _taken_back(entry) if taken_back else entry


def _taken_back(entry: Entry) -> Entry:
    return replace(entry, retracted=True, title=None, body=None)


def _anew(holding: Holding, kept: Sequence[Entry], missing: Iterable[Entry]) -> Righted:
    """Number from 1 on what is kept, in its order, and what is missing between it; retractions need none."""
    counter = holding.counter
    numbered: list[Entry] = []
    read_up_to = 0
    for seq, entry in enumerate(_in_order(list(_settled(holding, kept)), missing), 1):
        if 0 < entry.seq <= counter.read_up_to:
            read_up_to = seq
        numbered.append(replace(entry, seq=seq))
    numbered = [
        replace(each, read_at=each.read_at or counter.read_at) if each.seq <= read_up_to else each
        for each in numbered
    ]
    after = Counter(counter.epoch + 1, len(numbered), read_up_to, counter.read_at)
    return Righted(after, anew=True, put=tuple(numbered))


def _settled(holding: Holding, kept: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the notifications that are kept, each taken back or standing as it is to be."""
    taken_back = {each.about for each in kept if each.kind == RETRACTED}
    for entry in kept:
        if entry.kind == NOTIFICATION:
            withdrawn = entry.about in taken_back or _to_withdraw(entry, holding)
            yield _taken_back(entry) if withdrawn else entry


def _in_order(kept: Sequence[Entry], missing: Iterable[Entry]) -> list[Entry]:
    """Return both in the order of their moments; those that are kept stay in their order, whatever it is."""
    moments = accumulate((each.created_at for each in kept), max)
    placed = [(moment, each.seq, each) for moment, each in zip(moments, kept, strict=True)]
    placed += [(each.created_at, 0, each) for each in missing]
    return [each for *_, each in sorted(placed, key=lambda place: (*place[:2], place[2].about))]
