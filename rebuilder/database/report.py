"""What a rebuild of the database did, or would do: for people as lines, for programs as JSON."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from rebuilder.database.comparing import Difference
from rebuilder.problems import Problem

Outcome = Literal["swapped", "refused", "compared"]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """`records` were read by this run; the rest is what the side tables hold."""

    records: int = 0
    events: int = 0
    channels: int = 0
    members: int = 0
    messages: int = 0
    deleted: int = 0
    idempotency_keys: int = 0
    differing_rows: int = 0
    problems: int = 0


class DatabaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; `offsets` are the next to read, by topic, one a partition.

    `side` is where the tables were made; `before` the place that holds the tables which were live, None where
    they are gone. `digests` are those of messages, by channel, in the encoding that the index's digests have.
    `beginnings` are the first offsets that the log still has, of topics from whose start it lacks some.
    `differences` and `problems` name the first ones. `phases` are seconds, `held_s` those that writes waited.
    """

    target: str = "database"
    source: str
    outcome: Outcome
    reason: str | None = None
    side: str
    before: str | None = None
    resumed: bool = False
    held_s: float | None = None
    offsets: dict[str, list[int]]
    beginnings: dict[str, tuple[int, ...]]
    counts: Counts
    digests: dict[str, str]
    gaps: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    problems: tuple[Problem, ...] = ()
    phases: dict[str, float]
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 where the swap was refused, or would be: differences that were accepted are no failure."""
        differs = self.counts.differing_rows and self.outcome == "compared"
        return 1 if self.outcome == "refused" or differs else 0

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        counts = self.counts
        yield (
            f"read {counts.records:,} records: {counts.events:,} events, {counts.messages:,} messages "
            f"({counts.deleted:,} deleted) in {counts.channels:,} channels, {self.seconds:.1f} s"
        )
        for line in (*self.gaps, *self.problems, *self.differences):
            yield f"  {line}"
        if self.beginnings:
            trimmed = ", ".join(f"{topic} from {at}" for topic, at in self.beginnings.items())
            yield f"the log lacks its beginning: {trimmed}"
        if self.held_s is not None:
            yield f"writes waited {self.held_s:.2f} s for the swap"
        yield self._result()

    def _result(self) -> str:
        match self.outcome:
            case "swapped":
                kept = f"; the tables before are kept in {self.before}" if self.before else ""
                return f"swapped in what the log holds{kept}"
            case "refused":
                return f"refused, the live tables stay as they are: {self.reason}"
            case "compared":
                return f"compared, nothing changed: {self.counts.differing_rows:,} rows differ from the log"
