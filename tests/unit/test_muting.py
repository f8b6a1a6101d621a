"""What is muted: by the channel's level, and by the hours in which a user is not to be disturbed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from backbone.muting import is_time_zone, muted_by
from schemas.notifications import Reason
from schemas.preferences import DoNotDisturb, Level

NIGHT = DoNotDisturb(start="22:00", end="07:30", timezone="Asia/Seoul")
LUNCH = DoNotDisturb(start="12:00", end="13:00", timezone="Asia/Seoul")


def at(text: str, zone: str = "Asia/Seoul") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("level", "reason", "muted"),
    [
        ("all", "mention", False),
        ("all", "reply", False),
        ("mentions", "mention", False),
        ("mentions", "reply", True),
        ("nothing", "mention", True),
        ("nothing", "reply", True),
    ],
)
def test_levels(level: Level, reason: Reason, muted: bool) -> None:
    """Of `mentions` replies are muted, of `nothing` all is."""
    assert (muted_by(level, None, reason, 0) == "channel_level") is muted


@pytest.mark.parametrize(
    ("hours", "moment", "muted"),
    [
        (NIGHT, "2026-01-31T21:59:59", False),
        (NIGHT, "2026-01-31T22:00:00", True),
        (NIGHT, "2026-02-01T03:00:00", True),
        (NIGHT, "2026-02-01T07:29:59", True),
        (NIGHT, "2026-02-01T07:30:00", False),
        (LUNCH, "2026-02-01T11:59:59", False),
        (LUNCH, "2026-02-01T12:00:00", True),
        (LUNCH, "2026-02-01T13:00:00", False),
    ],
)
def test_hours(hours: DoNotDisturb, moment: str, muted: bool) -> None:
    """They begin with their start and end before their end, past midnight too."""
    assert (muted_by("all", hours, "mention", at(moment)) == "do_not_disturb") is muted


def test_hours_are_those_of_the_user_s_zone() -> None:
    """Given night in Seoul, it is day in Berlin; and the hours follow the change of the clocks there."""
    berlin = DoNotDisturb(start="22:00", end="07:30", timezone="Europe/Berlin")
    assert muted_by("all", berlin, "mention", at("2026-01-31T23:00:00")) is None
    assert muted_by("all", berlin, "mention", at("2026-07-01T22:00:00", "Europe/Berlin")) == "do_not_disturb"
    assert muted_by("all", berlin, "mention", at("2026-01-01T22:00:00", "Europe/Berlin")) == "do_not_disturb"


def test_the_level_is_told_first() -> None:
    """Given both, the level is why."""
    assert muted_by("nothing", NIGHT, "mention", at("2026-01-31T23:00:00")) == "channel_level"


@pytest.mark.parametrize("name", ["Mars/Olympus", "localtime", "Factory", "posixrules", "../etc/passwd", ""])
def test_a_zone_that_is_not_the_same_everywhere_is_none(name: str) -> None:
    """What only one host knows is no time zone, and mutes nothing where it is found."""
    assert not is_time_zone(name)
    if name not in ("localtime", "Factory", "posixrules"):
        always = DoNotDisturb(start="00:00", end="23:59", timezone=name)
        assert muted_by("all", always, "mention", at("2026-01-31T12:00:00")) is None


def test_names_of_the_database_are_zones() -> None:
    """Cities, and the names that are links to them."""
    assert all(map(is_time_zone, ("Asia/Seoul", "UTC", "America/New_York", "Asia/Calcutta")))
