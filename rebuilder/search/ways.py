"""How a search index is to be rebuilt: from what, into what, as of when, and what it must hold."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from rebuilder.readers import Source

LastTold = Callable[[], Awaitable[Mapping[str, int]]]
"""Returns the number of the last event of each channel that the log was told. Raises Unavailable."""


async def nothing_told() -> Mapping[str, int]:
    """Know nothing of what the log was told, see LastTold."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How to rebuild: `both` reads the state topic, which brings most messages in their last version, and
    then every event; `state` trusts the state topic for all that was written before the rebuild began;
    `events` reads only events.

    `compare` changes nothing, and says what is different. `rollback` fills the index that was live before
    the last swap, in place of a fresh one; `resume` the one that a rebuild had begun which died; `drop`
    leaves none to go back to. `told` is the number of messages that the log must hold at the least,
    `last_told` tells the last number of each channel. `purged_before` is for an index that has been live: it
    may have purged what was deleted earlier, see Digests. `archive` reads events, too, the first of them out
    of the archive. With `until_ms` the index holds what there was at that moment; with `skip_poison` records
    that cannot be read are left out.
    """

    source: Source = "both"
    compare: bool = False
    rollback: bool = False
    resume: bool = False
    drop: bool = False
    told: int = 0
    last_told: LastTold = nothing_told
    purged_before: str = ""
    until_ms: int | None = None
    skip_poison: bool = False
