"""What a comparison of the stores found: for people as a table and lines, for programs as JSON.

No text of a message stands in it: ids, versions, offsets, and the names of fields.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from backbone.printable import printable
from rebuilder.problems import Problem

Outcome = Literal["equal", "behind", "different"]


class StoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """One store. `behind` is how many records it has yet to take in.

    `source` names it; `offsets` are the next to read by topic, one a partition, where a store has such: those
    that the log was read up to, that the indexer has committed, at which the archive ends.
    """

    name: str
    compared: bool = True
    source: str | None = None
    channels: int = 0
    messages: int = 0
    deleted: int = 0
    records: int | None = None
    behind: int = 0
    offsets: dict[str, list[int]] = {}
    note: str | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a store holds of a message; `fields` are those that are not as in the log."""

    version: int | None = None
    deleted: bool = False
    missing: bool = False
    fields: tuple[str, ...] = ()
    record: str | None = None

    def __str__(self) -> str:
        if self.missing:
            return "missing"
        deleted = ", deleted" if self.deleted else ""
        record = f" ({self.record})" if self.record else ""
        fields = f", differs in {', '.join(self.fields)}" if self.fields else ""
        return f"version {self.version}{deleted}{fields}{record}"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is not the same in all stores; `wrong` are those that are not as the log has it."""

    channel: str
    message_id: str
    wrong: tuple[str, ...]
    stores: dict[str, Holding]

    def __str__(self) -> str:
        held = "; ".join(f"{name}: {holding}" for name, holding in self.stores.items())
        return f"{printable(self.channel)} {printable(self.message_id)}: {held}"


class NotCompared(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets of which nothing can be said, `first` and `last` among them."""

    store: str
    topic: str
    partition: int
    first: int
    last: int
    why: str

    def __str__(self) -> str:
        return f"{self.store} {self.topic}/{self.partition} {self.first} to {self.last}: {self.why}"


class Damage(NotCompared, frozen=True, kw_only=True):
    """Offsets that a store should have and cannot give."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. Lists name the first of what they are about; the numbers beside them count all.

    `digests` are by channel and store, those that differed at first before others; `log_as_indexed` and
    `log_as_state` are the log's, of what these keep of it.
    """

    outcome: Outcome
    stores: tuple[StoreReport, ...]
    differences: tuple[Difference, ...] = ()
    differing_messages: int = 0
    differing_channels: int = 0
    damaged: tuple[Damage, ...] = ()
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    not_compared: tuple[NotCompared, ...] = ()
    unapplied_messages: int = 0
    digests: dict[str, dict[str, str]] = {}
    digests_left_out: int = 0
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 where stores differ, or hold what cannot be read."""
        return 1 if self.outcome == "different" else 0

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        head = ("store", "channels", "messages", "deleted", "behind")
        rows = [head, *map(_row, self.stores)]
        yield from _aligned(rows)
        yield from _listed("records that cannot be read", self.problems, self.problem_count)
        yield from _listed("damaged or missing", self.damaged, len(self.damaged))
        yield from _listed("not compared", self.not_compared, len(self.not_compared))
        yield from _listed("messages that differ", self.differences, self.differing_messages)
        yield self._result()

    def _result(self) -> str:
        took = f"{self.seconds:.1f} s"
        late = ", ".join(f"{each.name} by {each.behind:,}" for each in self.stores if each.behind)
        match self.outcome:
            case "equal":
                far = ", as far as they could be compared" if self.not_compared else ""
                return f"the stores hold the same{far}, {took}"
            case "behind":
                return f"nothing differs, and some stores are behind: {late} records; {took}"
            case "different":
                where = f"{self.differing_messages:,} in {self.differing_channels:,} channels"
                unreadable = (
                    f"unreadable records {self.problem_count:,}, damaged ranges {len(self.damaged):,}"
                )
                return f"the stores differ: messages {where}, {unreadable}; {took}"


def _row(store: StoreReport) -> tuple[str, ...]:
    if not store.compared:
        return (store.name, store.note or "not compared", "", "", "")
    numbers = (store.channels, store.messages, store.deleted, store.behind)
    return (store.name, *(f"{number:,}" for number in numbers))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *cells)).rstrip()


def _listed(title: str, named: Sequence[object], count: int) -> Iterator[str]:
    if count:
        yield f"{title}: {count:,}"
        yield from (f"  {each}" for each in named)
        if count > len(named):
            yield f"  and {count - len(named):,} more"
