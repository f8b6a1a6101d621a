"""What a process makes sure of before it starts: that its stores answer and hold what it needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import EventLog
from backbone.eventlog.topic_state import require, require_same_partitions
from schemas.topics import DEAD_LETTERS, Topic


@contextmanager
def answering(setting: str) -> Iterator[None]:
    """Turn an Unavailable of the block into the one line that names the setting behind it."""
    try:
        yield
    except Unavailable as error:
        raise SetupError(f"{setting}: {error}") from error


async def check_topics(
    eventlog: EventLog, needed: Sequence[Topic] = (), *, consumed: Sequence[Topic] = ()
) -> None:
    """Raise SetupError where a topic is missing; Unavailable when the log does not answer.

    Those that a group has `consumed` must also have as many partitions as each other and as the
    dead letters: one member owns the same partition of all of them.
    """
    together = (*consumed, DEAD_LETTERS) if consumed else ()
    existing = await eventlog.topics()
    require(existing, list(dict.fromkeys((*needed, *together))), eventlog.full_name)
    require_same_partitions(existing, together, eventlog.full_name)
