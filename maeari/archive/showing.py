"""What `maeari archive` prints: what is held, whether all of it is there and whole, what was mended."""

import asyncio
import sys
from collections.abc import Iterator, Mapping

import msgspec

from backbone.archive import Damaged, Storage
from backbone.archive.checking import Finding, Held, LogBounds, Report, check, held_of
from backbone.archive.layout import MANIFEST
from backbone.archive.manifest import entries, partitions
from backbone.archive.mending import mend
from backbone.errors import SetupError, Unavailable
from backbone.progress import shown_progress
from backbone.settings import Settings
from backbone.wiring import open_archive, open_eventlog
from maeari.columns import aligned, counted, sized
from maeari.process import FAILED, fail
from schemas.clock import format_ms

_HEAD = ("topic", "from", "to", "partition", "first", "end", "files", "records", "size", "waiting")
_TEXTS = 3


async def list_held(settings: Settings, as_json: bool) -> None:
    """Print what the archive holds. Raises Unavailable."""
    storage = open_archive(settings.archive)
    try:
        found = {place: list(entries(storage, *place)) for place in partitions(storage)}
    except Damaged as error:
        fail(f"{error}: see `maeari archive check`", FAILED)
    if as_json:
        ranges = [entry for each in found.values() for entry in each]
        sys.stdout.write(msgspec.json.encode({"url": storage.url, "ranges": ranges}).decode() + "\n")
        return
    held = [held_of(topic, partition, each, None) for (topic, partition), each in found.items()]
    sys.stdout.write("".join(f"{line}\n" for line in _table(storage.url, held)))


async def check_all(settings: Settings, as_json: bool) -> int:
    """Print what a check found; return the exit code. Raises Unavailable."""
    storage = open_archive(settings.archive)
    report = await asyncio.to_thread(_checked, storage, await _log_bounds(settings))
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(report)))
    return 0 if report.ok else FAILED


def _checked(storage: Storage, log: Mapping[tuple[str, int], LogBounds] | None) -> Report:
    with shown_progress() as progress:
        progress.step("files checked", len(storage.list(MANIFEST)))
        return check(storage, log, progress.advance)


async def _log_bounds(settings: Settings) -> Mapping[tuple[str, int], LogBounds] | None:
    """Return the ends of the log's partitions, None where it does not answer."""
    eventlog = open_eventlog(settings)
    try:
        states = await eventlog.topics()
    except (Unavailable, SetupError) as error:
        sys.stderr.write(f"maeari: {error}: the archive is not compared with the log\n")
        return None
    finally:
        await eventlog.close()
    return {
        (eventlog.full_name(name), partition): LogBounds(state.earliest[partition], state.end[partition])
        for name, state in states.items()
        for partition in range(state.partitions)
        if state.end[partition] >= 0
    }


async def mend_manifest(settings: Settings) -> None:
    """Print a line for each file that the manifest lacked. Raises Unavailable."""
    storage = open_archive(settings.archive)
    lines = 0
    try:
        for line in mend(storage):
            lines += 1
            sys.stdout.write(f"{line}\n")
    except Damaged as error:
        fail(f"{error}: remove it, then mend again", FAILED)
    if not lines:
        sys.stdout.write("nothing to do\n")


def _table(url: str, held: list[Held]) -> Iterator[str]:
    yield url
    rows = [
        (
            each.topic,
            _moment(each.min_timestamp),
            _moment(each.max_timestamp),
            str(each.partition),
            counted(each.first),
            counted(each.end),
            counted(each.files),
            counted(each.records),
            sized(each.size_bytes),
            counted(each.waiting),
        )
        for each in held
    ]
    yield from (f"  {line}" for line in aligned([_HEAD, *rows], numbers_from=_TEXTS))


def _lines(report: Report) -> Iterator[str]:
    yield from _table(report.url, list(report.partitions))
    for finding in report.findings:
        yield _line(finding)
    files = sum(each.files for each in report.partitions)
    records = sum(each.records for each in report.partitions)
    judged = "all there and whole" if report.ok else f"{len(report.findings)} found wrong"
    if not (report.ok or report.findings):
        judged = "nothing is archived there; see MAEARI_ARCHIVE_URL, and let `maeari archiver` run"
    yield f"{counted(files)} files with {counted(records)} records: {judged}"


def _line(finding: Finding) -> str:
    where = f"{finding.topic}/{finding.partition} {finding.first}-{finding.last}"
    return f"{finding.kind.replace('_', ' ')}: {where}: {finding.detail}"


def _moment(timestamp_ms: int | None) -> str:
    if timestamp_ms is None:
        return "-"
    try:
        return format_ms(timestamp_ms)
    except (ValueError, OverflowError, OSError):
        return str(timestamp_ms)
