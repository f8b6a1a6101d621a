"""`maeari rebuild database`: wiring only. Settings and wishes in, the report out, an exit code back."""

import gc

from backbone.database.migrations import check_migrated
from backbone.errors import SetupError
from backbone.progress import shown_progress
from backbone.settings import Settings
from backbone.wiring import Ports, open_ports
from rebuilder.database.rebuild import Rebuild
from rebuilder.database.report import DatabaseReport
from rebuilder.database.side import open_side, refuse_rehearsals
from rebuilder.database.sources import EventsSource, Source, StateSource
from rebuilder.database.ways import Ways
from rebuilder.opening import open_log
from rebuilder.readers import Log
from rebuilder.reporting import answered, print_report
from rebuilder.sole import as_the_only_one


async def run(settings: Settings, ways: Ways, *, as_json: bool = False) -> int:
    """Rebuild the tables, or compare them; return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    async with open_ports(settings) as ports:
        return await answered(_rebuild(settings, ports, ways, as_json))


async def _rebuild(settings: Settings, ports: Ports, ways: Ways, as_json: bool) -> int:
    report = await rebuild_database(ports, await open_log(settings, ports, ways.source), ways)
    return print_report(report, as_json)


async def rebuild_database(ports: Ports, log: Log, ways: Ways) -> DatabaseReport:
    """Rebuild from a log, whose past may come out of the archive.

    Raises AlreadyRunning, NothingBegun, SetupError or Unavailable.
    """
    refuse_rehearsals(ways.into)
    source = _source(log, ways.source)
    # Rows by the thousand live for one batch: walks of the collector through them would find nothing.
    gc.set_threshold(100_000, 20, 50)
    async with open_side(ports.database, ways.into) as side:
        await check_migrated(ports.database)
        with shown_progress() as progress:
            rebuild = Rebuild(ports.database, side, source, ways, progress)
            return await as_the_only_one(ports.database, "rebuild database", rebuild.run)


def _source(log: Log, name: str) -> Source:
    match name:
        case "events" | "archive":
            return EventsSource(log)
        case "state":
            return StateSource(log)
        case _:
            raise SetupError(f"--from {name!r} is not one of state, events, archive")
