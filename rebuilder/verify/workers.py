"""Partitions summed up in processes of their own: reading many records is bound by what one process decodes.

Guarantees: a worker that dies, or is not wanted any more, leaves nothing behind; its trouble is raised here.
"""

import asyncio
import multiprocessing
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import structlog

from backbone.errors import NoRoom, SetupError, Unavailable
from backbone.eventlog import DEPENDENCY
from backbone.settings import Settings
from backbone.wiring import open_archive, open_eventlog
from rebuilder.verify.partitions import Bounds, Kind, Sums, sum_up_partition
from rebuilder.verify.reading import ArchiveSource

# Below this a process takes longer to start than to save.
WORTH_IT_RECORDS = 200_000

_context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class _Failure:
    """Trouble as it crosses a pipe; without a `dependency` it is of `kind`."""

    dependency: str | None
    detail: str
    kind: type[SetupError | NoRoom] = SetupError


@dataclass
class Workers:
    """Runs so many workers at a time, over stores of the settings."""

    settings: Settings
    at_once: int
    _free: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.at_once)

    async def sum_up(self, kind: Kind, partition: int, bounds: Bounds) -> Sums:
        """Sum a partition up in a process. Raises Unavailable, NoRoom or SetupError."""
        async with self._free:
            ours, theirs = _context.Pipe(duplex=False)
            arguments = (theirs, self.settings, kind, partition, bounds)
            process = _context.Process(target=_work, args=arguments, daemon=True)
            _start(process)
            theirs.close()
            try:
                answer = await asyncio.to_thread(_received, ours)
            finally:
                # One that is still at work is not wanted any more.
                process.terminate()
                await asyncio.to_thread(process.join)
                ours.close()
        if isinstance(answer, Sums):
            return answer
        if answer.dependency is None:
            raise answer.kind(answer.detail)
        raise Unavailable(answer.dependency, answer.detail)


def _start(process: SpawnProcess) -> None:
    """Start a process that Ctrl-C does not reach, not while it begins either: who started it ends it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)


def _received(pipe: Connection) -> Sums | _Failure:
    try:
        answer: Sums | _Failure = pipe.recv()
    except EOFError:
        return _Failure(DEPENDENCY, "a process that read it has ended before its time")
    return answer


def _work(pipe: Connection, settings: Settings, kind: Kind, partition: int, bounds: Bounds) -> None:
    """What a worker does."""
    # What it has to say must not come between the lines of a report.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    answer: Sums | _Failure
    try:
        answer = asyncio.run(_sum_up(settings, kind, partition, bounds))
    except Unavailable as error:
        answer = _Failure(error.dependency, error.detail)
    except (SetupError, NoRoom) as error:
        answer = _Failure(None, str(error), type(error))
    # Whoever was killed does not wait for it any more.
    with suppress(BrokenPipeError):
        pipe.send(answer)


async def _sum_up(settings: Settings, kind: Kind, partition: int, bounds: Bounds) -> Sums:
    eventlog = open_eventlog(settings)
    try:
        archive = None
        if kind == "archive":
            archive = ArchiveSource(open_archive(settings.archive), eventlog.full_name)
        return await sum_up_partition(kind, eventlog, archive, partition, bounds)
    finally:
        await eventlog.close()
