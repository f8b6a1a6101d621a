"""`maeari rebuild notifications`: wiring only. Settings and wishes in, the report out, an exit code back."""

from backbone.clock import SystemClock
from backbone.database.migrations import check_migrated
from backbone.errors import SetupError
from backbone.progress import shown_progress
from backbone.settings import Settings
from backbone.wiring import Ports, open_ports
from rebuilder.database.side import REHEARSAL, open_side
from rebuilder.notifications.rebuild import Rebuild, Ways
from rebuilder.notifications.report import NotificationsReport
from rebuilder.opening import open_log
from rebuilder.readers import Log
from rebuilder.reporting import answered, print_report
from rebuilder.sole import as_the_only_one


async def run(settings: Settings, ways: Ways, *, as_json: bool = False) -> int:
    """Put inboxes right, or compare them; return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    if ways.source not in ("events", "archive"):
        raise SetupError("rebuild notifications reads events: --from events, or archive")
    async with open_ports(settings) as ports:
        return await answered(_rebuild(settings, ports, ways, as_json))


async def _rebuild(settings: Settings, ports: Ports, ways: Ways, as_json: bool) -> int:
    report = await rebuild_notifications(ports, await open_log(settings, ports, ways.source), ways)
    return print_report(report, as_json)


async def rebuild_notifications(ports: Ports, log: Log, ways: Ways) -> NotificationsReport:
    """Rebuild from a log, whose past may come out of the archive.

    Raises AlreadyRunning, NothingBegun, Unfit, SetupError or Unavailable.
    """
    await check_migrated(ports.database)
    async with open_side(ports.database, REHEARSAL) as side:
        with shown_progress() as progress:
            rebuild = Rebuild(log, ports.database, side, SystemClock(), ways, progress)
            return await as_the_only_one(ports.database, "rebuild notifications", rebuild.run)
