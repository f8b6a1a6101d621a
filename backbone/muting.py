"""Whether a user wants to be told of something now: the one rule of muting. Pure."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schemas.notifications import Reason
from schemas.preferences import DoNotDisturb, Level, MutedBy


def muted_by(
    level: Level, do_not_disturb: DoNotDisturb | None, reason: Reason, happened_at_ms: int
) -> MutedBy | None:
    """Return why something that happened then (epoch milliseconds) is muted, None where it is not."""
    if level == "nothing" or (level == "mentions" and reason != "mention"):
        return "channel_level"
    if do_not_disturb is not None and _within(do_not_disturb, happened_at_ms):
        return "do_not_disturb"
    return None


def _within(hours: DoNotDisturb, at_ms: int) -> bool:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(hours.timezone))
    now = f"{moment:%H:%M}"
    if hours.start <= hours.end:
        return hours.start <= now < hours.end
    return now >= hours.start or now < hours.end
