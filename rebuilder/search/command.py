"""`maeari rebuild search`: wiring only. Settings and wishes in, the report out, an exit code back."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from backbone.clock import SystemClock
from backbone.errors import SetupError
from backbone.progress import shown_progress
from backbone.settings import Settings
from backbone.wiring import Ports, open_ports
from rebuilder.opening import open_log
from rebuilder.record import last_numbers_told, messages_told
from rebuilder.reporting import DONE, FAILED, answered, print_report
from rebuilder.search.as_of import drop_as_of, rebuild_as_of, source_of
from rebuilder.search.rebuild import compare_search, rebuild_search
from rebuilder.search.ways import Ways
from rebuilder.sole import as_the_only_one
from schemas.clock import format_ms
from schemas.events import encode
from schemas.topics import REPLAY_HORIZON_MS


async def run(settings: Settings, ways: Ways, *, as_json: bool = False) -> int:
    """Rebuild the index, compare it, or make that of a moment; return the exit code.

    Raises SetupError or Unavailable, whose texts are one line.
    """
    _check(ways)
    async with open_ports(settings) as ports:
        ways = replace(ways, last_told=partial(last_numbers_told, ports.database))
        if ways.until_ms is None:
            return await answered(_rebuild(settings, ports, ways, as_json))
        if ways.drop:
            return await answered(_drop(settings, ports, ways.until_ms, as_json))
        return await answered(_rebuild_as_of(settings, ports, ways, as_json))


def _check(ways: Ways) -> None:
    """Raise SetupError where one wish has no part in another."""
    of_moment = ways.until_ms is not None
    if of_moment and ways.compare:
        raise SetupError("--as-of changes nothing that is live: --dry-run has no part in it")
    if of_moment and ways.rollback:
        raise SetupError("--as-of makes an index of its own: --rollback has no part in it")
    if ways.compare and ways.rollback:
        raise SetupError("--dry-run compares the log with the live index: --rollback has no part in it")
    if ways.compare and ways.drop:
        raise SetupError("--dry-run compares the log with the live index: --drop has no part in it")
    if ways.resume and (of_moment or ways.compare or ways.rollback):
        raise SetupError("--resume fills a new index: --rollback, --dry-run and --as-of have no part in it")


async def _rebuild(settings: Settings, ports: Ports, ways: Ways, as_json: bool) -> int:
    told = await messages_told(ports.database, ways.source)
    log = await open_log(settings, ports, ways.source)
    # What has been live may have purged what was deleted before.
    seasoned = ways.compare or ways.rollback
    horizon = format_ms(SystemClock().now_ms() - REPLAY_HORIZON_MS) if seasoned else ""
    ways = replace(ways, told=told, purged_before=horizon)
    with shown_progress() as progress:
        if ways.compare:
            report = await compare_search(log, ports.search, ways, progress)
        else:
            work = partial(rebuild_search, log, ports.search, ways, progress)
            report = await as_the_only_one(ports.database, "rebuild search", work)
    return print_report(report, as_json)


async def _rebuild_as_of(settings: Settings, ports: Ports, ways: Ways, as_json: bool) -> int:
    ways = replace(ways, source=source_of(ways.source))
    log = await open_log(settings, ports, ways.source)
    with shown_progress() as progress:
        report = await rebuild_as_of(settings, ports, log, ways, progress)
    return print_report(report, as_json)


async def _drop(settings: Settings, ports: Ports, until_ms: int, as_json: bool) -> int:
    moment = format_ms(until_ms)
    dropped: Sequence[str] = await drop_as_of(settings, ports, until_ms)
    if not dropped:
        sys.stderr.write(f"maeari: there is no index as of {moment} beside {settings.search_alias}\n")
        return FAILED
    told = {"target": "search", "as_of": moment, "outcome": "dropped", "dropped": dropped}
    sys.stdout.write(encode(told).decode() + "\n" if as_json else f"dropped {', '.join(dropped)}\n")
    return DONE
