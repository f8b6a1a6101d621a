"""What a rebuild of notifications did, or would do: for people as lines, for programs as JSON."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from rebuilder.problems import Problem

Outcome = Literal["put right", "refused", "compared"]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """`records` were read by this run; users and notifications are those that the log tells of.

    `differing_users` were found at last. `read_before` mentions were read before they were edited away, and
    stand for that. `restored` rows have the numbers they had, `renumbered` users others in a new epoch.
    """

    records: int = 0
    users: int = 0
    notifications: int = 0
    retracted: int = 0
    read_before: int = 0
    restored: int = 0
    renumbered: int = 0
    taken_back: int = 0
    differing_users: int = 0
    problems: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A user whose inbox is not what the log says, and how."""

    user_id: str
    how: str

    def __str__(self) -> str:
        return f"inbox of {self.user_id!r}: {self.how}"


class NotificationsReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; `offsets` are the next to read, by topic, one a partition.

    `digests` are of the set of (user, message, reason, retracted) as the `log` and as the `inboxes` have it.
    `behind` are records that the notifier has yet to apply, whose messages are not judged. `beginnings` are
    the first offsets that the log still has, of topics from whose start it lacks some: then nothing that is
    there is taken for wrong. `held_s` is the longest that notifiers waited, in seconds.
    """

    target: str = "notifications"
    source: str = "events"
    outcome: Outcome
    reason: str | None = None
    resumed: bool = False
    held_s: float = 0.0
    offsets: dict[str, list[int]]
    beginnings: dict[str, tuple[int, ...]]
    behind: int = 0
    counts: Counts
    digests: dict[str, str]
    differences: tuple[Difference, ...] = ()
    problems: tuple[Problem, ...] = ()
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 where inboxes differ from the log, or nobody can say."""
        return 1 if self.outcome == "refused" or self.counts.differing_users else 0

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        counts = self.counts
        yield (
            f"read {counts.records:,} records: {counts.notifications:,} notifications "
            f"({counts.retracted:,} retracted) of {counts.users:,} users, {self.seconds:.1f} s"
        )
        for line in (*self.problems, *self.differences):
            yield f"  {line}"
        if counts.problems > len(self.problems):
            yield f"  records that cannot be read: {counts.problems:,}"
        if self.behind:
            yield f"the notifier has yet to apply {self.behind:,} records: their messages were not judged"
        if self.beginnings:
            trimmed = ", ".join(f"{topic} from {at}" for topic, at in self.beginnings.items())
            yield f"the log lacks its beginning ({trimmed}): what only that told was left as it is"
        yield self._result()

    def _result(self) -> str:
        counts = self.counts
        match self.outcome:
            case "put right":
                done = f"rows put back {counts.restored:,}, users numbered anew {counts.renumbered:,}"
                return f"inboxes are what the log says: {done}, taken back {counts.taken_back:,}"
            case "refused":
                return f"refused: {self.reason}"
            case "compared":
                return f"compared, nothing changed: {counts.differing_users:,} inboxes differ from the log"
