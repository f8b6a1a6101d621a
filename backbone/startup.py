"""What a process makes sure of before it starts: that its stores answer and hold what it needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import EventLog
from backbone.eventlog.topic_state import require
from schemas.topics import Topic


@contextmanager
def answering(setting: str) -> Iterator[None]:
    """Turn an Unavailable of the block into the one line that names the setting behind it."""
    try:
        yield
    except Unavailable as error:
        raise SetupError(f"{setting}: {error}") from error


async def check_topics(eventlog: EventLog, needed: Sequence[Topic]) -> None:
    """Raise SetupError where a topic is missing; Unavailable when the log does not answer."""
    require(await eventlog.topics(), needed)
