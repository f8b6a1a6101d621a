"""What was asked of the platform and what it acknowledged: the word that it is held to."""

from dataclasses import dataclass, field
from time import monotonic


@dataclass(frozen=True)
class State:
    """A message as its author was told that it is: `version` None where nobody told."""

    version: int | None
    content: str
    mentions: tuple[str, ...] = ()
    deleted: bool = False


@dataclass
class Entry:
    """One message, by the key of its post; `attempt` is what was asked last and not acknowledged."""

    key: str
    channel_id: str
    author_id: str
    message_id: str | None = None
    acknowledged: list[State] = field(default_factory=list)
    attempt: State | None = None

    @property
    def last(self) -> State:
        return self.acknowledged[-1]


class Ledger:
    """All messages of one load, and when each acknowledgement came."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._began_s = monotonic()
        self._last_s = self._began_s
        self.acknowledged = 0
        self.longest_stall_s = 0.0

    def ask(self, entry: Entry, attempt: State) -> None:
        """Note what is going to be asked."""
        if entry.message_id is None:
            self.entries.append(entry)
        entry.attempt = attempt

    def acknowledge(self, entry: Entry, version: int | None) -> None:
        """Note that what was asked last was acknowledged (2xx)."""
        asked, entry.attempt = entry.attempt, None
        assert asked is not None
        entry.acknowledged.append(State(version, asked.content, asked.mentions, asked.deleted))
        self.acknowledged += 1
        now_s = monotonic()
        self.longest_stall_s = max(self.longest_stall_s, now_s - self._last_s)
        self._last_s = now_s

    @property
    def unknown(self) -> int:
        """How many requests were never answered: they may have been carried out, or not."""
        return sum(entry.attempt is not None for entry in self.entries)

    @property
    def since_last_s(self) -> float:
        return monotonic() - self._last_s

    @property
    def lasted_s(self) -> float:
        return monotonic() - self._began_s
