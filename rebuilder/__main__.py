"""`maeari rebuild TARGET`: wiring only. Settings in, the report out, an exit code back."""

import sys

from backbone.clock import SystemClock
from backbone.errors import SetupError
from backbone.progress import shown_progress
from backbone.settings import Settings
from backbone.wiring import Ports, open_ports
from rebuilder.database.command import print_report, rebuild_database
from rebuilder.database.rebuild import Ways as DatabaseWays
from rebuilder.notifications.command import print_report as print_notifications
from rebuilder.notifications.command import rebuild_notifications
from rebuilder.notifications.rebuild import Ways as NotificationsWays
from rebuilder.record import messages_told
from rebuilder.report import Report, Source
from rebuilder.search import Ways, compare_search, rebuild_search
from rebuilder.sole import AlreadyRunning, as_the_only_one
from rebuilder.target import NothingBefore
from schemas.clock import format_ms
from schemas.events import encode
from schemas.topics import REPLAY_HORIZON_MS

DONE, FAILED = 0, 1


async def run(
    settings: Settings,
    target: str,
    source: str = "both",
    dry_run: bool = False,
    as_json: bool = False,
    drop: bool = False,
    rollback: bool = False,
    database_ways: DatabaseWays | None = None,
) -> int:
    """Rebuild a store out of the log; return the exit code.

    The report goes to stdout, progress and the reason of a refusal to stderr. Raises SetupError or
    Unavailable, whose texts are one line.
    """
    if target == "database":
        return await _rebuild_database(settings, database_ways or DatabaseWays(), as_json)
    if target == "notifications":
        return await _rebuild_notifications(settings, database_ways or DatabaseWays(), as_json)
    if target != "search":
        raise SetupError(
            f"rebuild {target} is not supported by this version yet; search, database and notifications are"
        )
    if dry_run and rollback:
        raise SetupError("--dry-run compares the log with the live index: --rollback has no part in it")
    checked = _source(source)
    async with open_ports(settings) as ports:
        told = await messages_told(ports.database, checked)
        try:
            horizon = format_ms(SystemClock().now_ms() - REPLAY_HORIZON_MS) if dry_run or rollback else ""
            ways = Ways(source=checked, rollback=rollback, drop=drop, told=told, purged_before=horizon)
            report = await _rebuild_search(ports, ways, dry_run)
        except (AlreadyRunning, NothingBefore) as error:
            sys.stderr.write(f"maeari: {error}\n")
            return FAILED
    sys.stdout.write(
        encode(report).decode() + "\n" if as_json else "".join(f"{line}\n" for line in report.lines())
    )
    if as_json and report.outcome == "refused":
        sys.stderr.write(f"maeari: rebuild search refused: {report.reason}\n")
    return report.exit_code


async def _rebuild_database(settings: Settings, ways: DatabaseWays, as_json: bool) -> int:
    async with open_ports(settings) as ports:
        try:
            report = await rebuild_database(ports, ways)
        except AlreadyRunning as error:
            sys.stderr.write(f"maeari: {error}\n")
            return FAILED
    print_report(report, as_json)
    return report.exit_code


async def _rebuild_notifications(settings: Settings, asked: DatabaseWays, as_json: bool) -> int:
    if asked.source != "events":
        raise SetupError("rebuild notifications reads events: --from events")
    ways = NotificationsWays(compare=asked.compare, resume=asked.resume, skip_poison=asked.skip_poison)
    async with open_ports(settings) as ports:
        try:
            report = await rebuild_notifications(ports, ways)
        except AlreadyRunning as error:
            sys.stderr.write(f"maeari: {error}\n")
            return FAILED
    print_notifications(report, as_json)
    return report.exit_code


async def _rebuild_search(ports: Ports, ways: Ways, dry_run: bool) -> Report:
    with shown_progress() as progress:
        if dry_run:
            return await compare_search(ports.eventlog, ports.search, ways, progress)
        return await as_the_only_one(
            ports.database,
            "rebuild search",
            lambda: rebuild_search(ports.eventlog, ports.search, ways, progress),
        )


def _source(source: str) -> Source:
    match source:
        case "state" | "events" | "both":
            return source
        case "archive":
            raise SetupError("--from archive is not supported by this version yet; use state, events or both")
        case _:
            raise SetupError(f"--from {source!r} is not one of state, events, both")
