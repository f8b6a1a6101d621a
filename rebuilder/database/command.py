"""`maeari rebuild database`: wiring only. Settings and wishes in, the report out."""

import gc
import sys

from backbone.database.migrations import check_migrated
from backbone.errors import SetupError
from backbone.progress import shown_progress
from backbone.wiring import Ports
from rebuilder.database.rebuild import Rebuild
from rebuilder.database.report import DatabaseReport
from rebuilder.database.side import open_side
from rebuilder.database.sources import EventsSource, Source, StateSource
from rebuilder.database.ways import Ways
from rebuilder.readers import Log
from rebuilder.sole import as_the_only_one
from schemas.events import encode


async def rebuild_database(ports: Ports, log: Log, ways: Ways) -> DatabaseReport:
    """Rebuild from a log, whose past may come out of the archive.

    Raises AlreadyRunning, SetupError or Unavailable.
    """
    source = _source(log, ways.source)
    # Rows by the thousand live for one batch: walks of the collector through them would find nothing.
    gc.set_threshold(100_000, 20, 50)
    async with open_side(ports.database, ways.into) as side:
        await check_migrated(ports.database)
        with shown_progress() as progress:
            rebuild = Rebuild(ports.database, side, source, ways, progress)
            return await as_the_only_one(ports.database, "rebuild database", rebuild.run)


def print_report(report: DatabaseReport, as_json: bool) -> None:
    """Print it on stdout, and the reason of a refusal beside JSON on stderr."""
    lines = "".join(f"{line}\n" for line in report.lines())
    sys.stdout.write(encode(report).decode() + "\n" if as_json else lines)
    if as_json and report.outcome == "refused":
        sys.stderr.write(f"maeari: rebuild database refused: {report.reason}\n")


def _source(log: Log, name: str) -> Source:
    match name:
        case "events" | "archive":
            return EventsSource(log)
        case "state":
            return StateSource(log)
        case _:
            raise SetupError(f"--from {name!r} is not one of state, events, archive")
