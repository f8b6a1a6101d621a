"""`maeari rebuild TARGET`: wiring only. Settings in, the report out, an exit code back."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from backbone.clock import SystemClock
from backbone.errors import SetupError
from backbone.progress import shown_progress
from backbone.settings import Settings
from backbone.wiring import Ports, open_ports
from rebuilder.archived import Unfit
from rebuilder.as_of import drop_as_of, rebuild_as_of, source_of
from rebuilder.database.command import print_report, rebuild_database
from rebuilder.database.ways import Ways as DatabaseWays
from rebuilder.notifications.command import print_report as print_notifications
from rebuilder.notifications.command import rebuild_notifications
from rebuilder.notifications.rebuild import Ways as NotificationsWays
from rebuilder.opening import open_log
from rebuilder.record import last_numbers_told, messages_told
from rebuilder.report import Report, Source
from rebuilder.search import compare_search, rebuild_search
from rebuilder.sole import AlreadyRunning, as_the_only_one
from rebuilder.target import NothingBefore
from rebuilder.untold import Untold
from rebuilder.ways import Ways
from schemas.clock import format_ms
from schemas.events import encode
from schemas.topics import REPLAY_HORIZON_MS

DONE, FAILED = 0, 1
_DRY_RUN = "--dry-run compares the log with the live index"


async def run(
    settings: Settings,
    target: str,
    source: str = "both",
    dry_run: bool = False,
    as_json: bool = False,
    drop: bool = False,
    rollback: bool = False,
    database_ways: DatabaseWays | None = None,
    *,
    skip_poison: bool = False,
    as_of_ms: int | None = None,
) -> int:
    """Rebuild a store out of the log; return the exit code.

    The report goes to stdout, progress and the reason of a refusal to stderr. Raises SetupError or
    Unavailable, whose texts are one line.
    """
    if target not in ("search", "database", "notifications"):
        raise SetupError(
            f"rebuild {target} is not supported by this version yet; search, database and notifications are"
        )
    if as_of_ms is not None and target != "search":
        raise SetupError(f"--as-of is for search, rebuild {target} knows no moments")
    if rollback and (dry_run or as_of_ms is not None):
        other = "--as-of makes an index of its own" if as_of_ms is not None else _DRY_RUN
        raise SetupError(f"{other}: --rollback has no part in it")
    if as_of_ms is not None and dry_run:
        raise SetupError("--as-of changes nothing that is live: --dry-run has no part in it")
    resume = database_ways is not None and database_ways.resume
    if target == "search" and resume and (rollback or dry_run or as_of_ms is not None):
        raise SetupError("--resume fills a new index: --rollback, --dry-run and --as-of have no part in it")
    ways = Ways(rollback=rollback, resume=resume, drop=drop, skip_poison=skip_poison, until_ms=as_of_ms)
    async with open_ports(settings) as ports:
        ways = replace(ways, last_told=partial(last_numbers_told, ports.database))
        try:
            if target == "database":
                return await _rebuild_database(settings, ports, database_ways or DatabaseWays(), as_json)
            if target == "notifications":
                return await _rebuild_notifications(settings, ports, database_ways or DatabaseWays(), as_json)
            if as_of_ms is not None:
                return await _rebuild_as_of(settings, ports, source_of(source), ways, as_json)
            return await _rebuild_search(settings, ports, _source(source), ways, dry_run, as_json)
        except (AlreadyRunning, NothingBefore, Unfit, Untold) as error:
            sys.stderr.write(f"maeari: {error}\n")
            return FAILED


async def _rebuild_database(settings: Settings, ports: Ports, ways: DatabaseWays, as_json: bool) -> int:
    report = await rebuild_database(ports, await open_log(settings, ports, ways.source), ways)
    print_report(report, as_json)
    return report.exit_code


async def _rebuild_notifications(settings: Settings, ports: Ports, asked: DatabaseWays, as_json: bool) -> int:
    if asked.source not in ("events", "archive"):
        raise SetupError("rebuild notifications reads events: --from events, or archive")
    log = await open_log(settings, ports, asked.source)
    ways = NotificationsWays(
        source=asked.source, compare=asked.compare, resume=asked.resume, skip_poison=asked.skip_poison
    )
    report = await rebuild_notifications(ports, log, ways)
    print_notifications(report, as_json)
    return report.exit_code


async def _rebuild_search(
    settings: Settings, ports: Ports, source: Source, ways: Ways, dry_run: bool, as_json: bool
) -> int:
    told = await messages_told(ports.database, source)
    log = await open_log(settings, ports, source)
    horizon = format_ms(SystemClock().now_ms() - REPLAY_HORIZON_MS) if dry_run or ways.rollback else ""
    ways = replace(ways, source=source, told=told, purged_before=horizon)
    with shown_progress() as progress:
        if dry_run:
            report = await compare_search(log, ports.search, ways, progress)
        else:
            work = partial(rebuild_search, log, ports.search, ways, progress)
            report = await as_the_only_one(ports.database, "rebuild search", work)
    return _print(report, as_json)


async def _rebuild_as_of(settings: Settings, ports: Ports, source: Source, ways: Ways, as_json: bool) -> int:
    """Make the index of a moment, or drop it."""
    if ways.drop:
        return _print_dropped(settings, ways, await drop_as_of(settings, ports, ways.until_ms or 0), as_json)
    log = await open_log(settings, ports, source)
    with shown_progress() as progress:
        report = await rebuild_as_of(settings, ports, log, source, ways, progress)
    return _print(report, as_json)


def _print(report: Report, as_json: bool) -> int:
    sys.stdout.write(
        encode(report).decode() + "\n" if as_json else "".join(f"{line}\n" for line in report.lines())
    )
    if as_json and report.outcome == "refused":
        sys.stderr.write(f"maeari: rebuild search refused: {report.reason}\n")
    return report.exit_code


def _print_dropped(settings: Settings, ways: Ways, dropped: Sequence[str], as_json: bool) -> int:
    moment = format_ms(ways.until_ms or 0)
    if not dropped:
        sys.stderr.write(f"maeari: there is no index as of {moment} beside {settings.search_alias}\n")
        return FAILED
    told = {"target": "search", "as_of": moment, "outcome": "dropped", "dropped": dropped}
    sys.stdout.write(encode(told).decode() + "\n" if as_json else f"dropped {', '.join(dropped)}\n")
    return DONE


def _source(source: str) -> Source:
    match source:
        case "state" | "events" | "archive" | "both":
            return source
        case _:
            raise SetupError(f"--from {source!r} is not one of state, events, archive, both")
