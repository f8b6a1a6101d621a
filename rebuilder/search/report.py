"""What a rebuild did, or would do: for people as lines, for programs as JSON."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from rebuilder.problems import Problem
from rebuilder.readers import Source

Outcome = Literal["swapped", "refused", "dry run"]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """`records` were read, `applied` of them stored as the newest of their message at that point."""

    records: int
    applied: int
    messages: int
    deleted: int
    channels: int
    differing_channels: int
    problems: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; `offsets` are the next to read, by topic, one a partition.

    `differing_channels` names the first channels in which an index differs from the log: the new index,
    which is then refused, or in a dry run the live one. `problems` names the first problems. `held_s` is how
    long writes to the index waited for the swap, in seconds; `kept` is what a rollback goes back to. `gaps`
    names the first events that the log lacks. With `as_of` the index is one of that moment.
    """

    target: str = "search"
    source: Source
    as_of: str | None = None
    skip_poison: bool = False
    outcome: Outcome
    reason: str | None = None
    index_before: str | None = None
    index: str | None = None
    rollback: bool = False
    resumed: bool = False
    held_s: float | None = None
    kept: str | None = None
    dropped: tuple[str, ...] = ()
    offsets: dict[str, list[int]]
    counts: Counts
    digests: dict[str, str]
    differing_channels: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    gaps: tuple[str, ...] = ()
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 where the swap was refused, or would be, and where a dry run names channels that differ."""
        left_out = self.outcome == "swapped" or self.skip_poison
        differs = self.outcome == "dry run" and self.differing_channels
        return 1 if self.outcome == "refused" or differs or (self.counts.problems and not left_out) else 0

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        counts = self.counts
        yield (
            f"read {counts.records:,} records: {counts.messages:,} messages "
            f"({counts.deleted:,} deleted) in {counts.channels:,} channels, {self.seconds:.1f} s"
        )
        for line in (*self.gaps, *self.problems):
            yield f"  {line}"
        if counts.problems > len(self.problems):
            yield f"  and {counts.problems - len(self.problems):,} more"
        if self.held_s is not None:
            yield f"writes to the index waited {self.held_s:.2f} s for the swap"
        yield self._result()

    @property
    def _alias(self) -> str:
        return (self.index or "").rpartition("-")[0]

    def _result(self) -> str:
        match self.outcome:
            case "swapped" if self.as_of is not None:
                left_out = f", but for {self.counts.problems:,} records" if self.counts.problems else ""
                return f"{self.index} holds the messages as of {self.as_of}{left_out}: alias {self._alias}"
            case "swapped":
                changes = [f"swapped {self.index_before or 'no index'} for {self.index}"]
                if self.kept:
                    changes.append(f"kept {self.kept} for --rollback")
                if self.dropped:
                    changes.append(f"dropped {', '.join(self.dropped)}")
                return ", ".join(changes)
            case "refused":
                return f"refused, {self.index_before or 'no index'} stays: {self.reason}"
            case "dry run":
                where = f"{self.counts.differing_channels:,} channels of {self.index_before or 'no index'}"
                why = f"; {self.reason}" if self.reason else ""
                return f"dry run, nothing changed: {where} differ from the log{why}"
