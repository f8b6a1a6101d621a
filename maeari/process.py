"""Runs a coroutine as a process: settings read, signals heard, every error one line and an exit code.

Exit codes: 0 done, 1 the work failed or the answer is no, 2 wrong usage or settings.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import structlog

from backbone.errors import NoRoom, SetupError, Unavailable
from backbone.settings import Settings, read_settings

FAILED = 1
WRONG_SETUP = 2

_MENDABLE = (SetupError, Unavailable, NoRoom)

# Where each dependency's address stands.
_SETTING_OF = {
    "database": "MAEARI_DATABASE_URL",
    "eventlog": "MAEARI_EVENTLOG_URL",
    "search": "MAEARI_SEARCH_URL",
    "archive": "MAEARI_ARCHIVE_URL",
}

# More than a process can serve.
OPEN_FILES = 65_536

log = structlog.get_logger()


def settings_or_exit(data: Path | None = None) -> Settings:
    """Read the settings; `data` stands for MAEARI_DATA when given. Ends the process when one is wrong."""
    variables = dict(os.environ)
    if data is not None:
        variables["MAEARI_DATA"] = str(data)
    try:
        return read_settings(variables)
    except SetupError as error:
        fail(str(error), WRONG_SETUP)


def embedded_only(settings: Settings) -> Settings:
    """Return the settings with all stores as files in the data folder."""
    files = read_settings({"MAEARI_DATA": str(settings.data)}, dotenv=None)
    return replace(
        settings,
        database_url=files.database_url,
        eventlog_url=files.eventlog_url,
        search_url=files.search_url,
        archive=replace(settings.archive, url=files.archive.url, chosen=False),
    )


def run_service(settings: Settings, main: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    """Run a service until SIGINT or SIGTERM asks it to stop; a second one ends it at once."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, loop, stop, number)
        _collect_rarely()
        _open_many_files()
        await main(settings, stop)

    run_work(settings, until_stopped)


def run_work(settings: Settings, work: Callable[[], Awaitable[int | None]]) -> None:
    """Run some work to its end and exit with the code that it returns.

    The errors that people can mend become one line and an exit code.
    """
    configure_logging(settings.log_format)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            code = runner.run(_awaited(work))
    except KeyboardInterrupt:
        fail("interrupted", 128 + signal.SIGINT)
    except asyncio.CancelledError:
        fail("terminated", 128 + signal.SIGTERM)
    except _MENDABLE as error:
        _fail_with(error)
    except ExceptionGroup as group:
        if group.split(_MENDABLE)[1] is not None:
            raise  # there is a fault of ours among them, which must be seen
        _fail_with(next(filter(None, (_first(group, kind) for kind in _MENDABLE))))
    else:
        sys.exit(code or 0)


def _collect_rarely() -> None:
    """Let the collector of cycles leave alone what stays for ever, and come less often for the rest.

    Its walks through all that a service has loaded stop every request for tens of milliseconds, and
    find next to nothing: what a request makes is mostly freed without it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _open_many_files() -> None:
    """Take as many open files as the system allows: each socket is one, and the usual soft limit is 1,024."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Where even this is too many, it stays as it was.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fail(line: str, code: int) -> NoReturn:
    """Print one line on stderr and end the process."""
    sys.stderr.write(f"maeari: {line}\n")
    sys.exit(code)


def configure_logging(log_format: str) -> None:
    """Send logs to stderr, as lines for people or as JSON, from level info on."""
    last: structlog.typing.Processor
    if log_format == "json":
        last = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # What the client cannot do is raised, and told once by whoever hears of it.
    logging.getLogger("elastic_transport").setLevel(logging.CRITICAL)


def _stop(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, number: signal.Signals) -> None:
    stop.set()
    loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not to be had on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _awaited(work: Callable[[], Awaitable[int | None]]) -> int | None:
    """Do the work; SIGTERM cancels it as Ctrl-C does, so that what must not be left half done is finished."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work()


def _fail_with(error: Exception) -> NoReturn:
    if isinstance(error, Unavailable):
        setting = _SETTING_OF.get(error.dependency)
        fail(f"{setting}: {error}" if setting else str(error), FAILED)
    fail(str(error), WRONG_SETUP if isinstance(error, SetupError) else FAILED)


def _first(group: BaseExceptionGroup[Exception], kind: type[Exception]) -> Exception | None:
    found = group.subgroup(kind)
    while found is not None:
        first = found.exceptions[0]
        if not isinstance(first, BaseExceptionGroup):
            return first
        found = first
    return None
