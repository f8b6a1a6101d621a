"""Why there is nothing to export."""

from rebuilder.refusal import Refusal
from schemas.clock import format_ms


class Refused(Refusal):
    """The channel cannot be exported; the text is one line that says why."""


def no_such_channel(channel_id: str, where: str) -> Refused:
    """Return the refusal of a channel that is not there."""
    return Refused(f"there is no channel {channel_id!r} in {where}")


def not_yet(channel_id: str, until_ms: int, made_ms: int) -> Refused:
    """Return the refusal of a moment before the channel."""
    return Refused(
        f"channel {channel_id!r} did not exist by {format_ms(until_ms)}: it was made at {format_ms(made_ms)}"
    )
