"""`maeari rebuild notifications`: wiring only. Settings and wishes in, the report out."""

import sys

from backbone.clock import SystemClock
from backbone.database.migrations import check_migrated
from backbone.progress import shown_progress
from backbone.wiring import Ports
from rebuilder.database.side import open_side
from rebuilder.notifications.rebuild import Rebuild, Ways
from rebuilder.notifications.report import NotificationsReport
from rebuilder.readers import Log
from rebuilder.sole import as_the_only_one
from schemas.events import encode

SIDE = "maeari_rehearsal"


async def rebuild_notifications(ports: Ports, log: Log, ways: Ways) -> NotificationsReport:
    """Rebuild from a log, whose past may come out of the archive.

    Raises AlreadyRunning, Unfit, SetupError or Unavailable.
    """
    await check_migrated(ports.database)
    async with open_side(ports.database, SIDE) as side:
        with shown_progress() as progress:
            rebuild = Rebuild(log, ports.database, side, SystemClock(), ways, progress)
            return await as_the_only_one(ports.database, "rebuild notifications", rebuild.run)


def print_report(report: NotificationsReport, as_json: bool) -> None:
    """Print it on stdout, and the reason of a refusal beside JSON on stderr."""
    lines = "".join(f"{line}\n" for line in report.lines())
    sys.stdout.write(encode(report).decode() + "\n" if as_json else lines)
    if as_json and report.outcome == "refused":
        sys.stderr.write(f"maeari: rebuild notifications refused: {report.reason}\n")
