"""Whether a user wants to be told of something now: the one rule of muting. Pure."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from schemas.notifications import Reason
from schemas.preferences import DoNotDisturb, Level, MutedBy

# What these mean is each host's own.
_OF_THE_HOST = {"localtime", "Factory", "posixrules"}


def is_time_zone(name: str) -> bool:
    """Say whether this is a name of the IANA database that means the same on every host."""
    return name not in _OF_THE_HOST and name in available_timezones()


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
    try:
        zone = ZoneInfo(hours.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # Another host knew it. Nobody else is to wait for that, and being told is better than not.
        return False
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    now = f"{moment:%H:%M}"
    if hours.start <= hours.end:
        return hours.start <= now < hours.end
    return now >= hours.start or now < hours.end
