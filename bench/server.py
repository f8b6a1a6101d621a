"""Processes that serve, the product's as users start them: ready in the block, stopped after it."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from backbone.settings import Settings
from bench.cores import pinned
from bench.failure import MeasurementFailed

HOST = "127.0.0.1"
_READY_WITHIN_S = 30.0
_ENDS_WITHIN_S = 20.0
_NOTICED_WITHIN_S = 1.0
_ASK_EVERY_S = 0.05
# Servers' ports lie below the ephemeral ones, which connections of others may hold.
_PORTS = range(20_000, 32_000)
PROGRAM = (sys.executable, "-m", "maeari")


@dataclass(frozen=True)
class RunningService:
    """A service, by its command's name, that answers at this port."""

    name: str
    port: int
    process: asyncio.subprocess.Process
    log: Path

    def require_running(self) -> None:
        """Raise MeasurementFailed where it has ended by itself."""
        if self.process.returncode is not None:
            said = _last_line(self.log)
            raise MeasurementFailed(
                f"the {self.name} ended by itself with exit code {self.process.returncode}: {said}"
            )

    async def require_not_ending(self) -> None:
        """Do the same a little later: a process that ends is first noticed by its connections."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOTICED_WITHIN_S):
                await self.process.wait()
        self.require_running()

    def cpu_s(self) -> float | None:
        """Return the CPU seconds that it has used up to now; None where the system does not say."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self) -> int | None:
        """Return how much memory it has in use; None where the system does not say."""
        try:
            statm = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8")
        except OSError:
            return None
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@asynccontextmanager
async def running_backend(
    settings: Settings, core: int | None, program: Sequence[str] = PROGRAM, **variables: object
) -> AsyncIterator[RunningService]:
    """Run a backend on the stores of `settings`, on one core where one is given.

    `program` is what the command is given to; `variables` are more settings, named without `MAEARI_`.
    Raises MeasurementFailed.
    """
    async with _running("backend", "PORT", settings, core, variables, program) as service:
        yield service


@asynccontextmanager
async def running_indexer(settings: Settings, core: int | None = None) -> AsyncIterator[RunningService]:
    """Run an indexer on the stores of `settings`. Raises MeasurementFailed."""
    # Without a name of its own it leaves its group at once when it ends.
    async with _running("indexer", "METRICS_PORT", settings, core, {"INSTANCE": "none"}) as service:
        yield service


@asynccontextmanager
async def running_notifier(
    settings: Settings, core: int | None = None
) -> AsyncIterator[tuple[RunningService, int]]:
    """Run a notifier on the stores of `settings`; yield it, and the port of its sockets."""
    port = free_port()
    variables = {"INSTANCE": "none", "WEBSOCKET_PORT": port}
    async with _running("notifier", "METRICS_PORT", settings, core, variables) as service:
        yield service, port


@asynccontextmanager
async def running_archiver(settings: Settings, **variables: object) -> AsyncIterator[RunningService]:
    """Run an archiver on the log of `settings`. Raises MeasurementFailed."""
    async with _running(
        "archiver", "METRICS_PORT", settings, None, {"INSTANCE": "none", **variables}
    ) as service:
        yield service


@asynccontextmanager
async def _running(
    name: str,
    port_setting: str,
    settings: Settings,
    core: int | None,
    variables: Mapping[str, object],
    program: Sequence[str] = PROGRAM,
) -> AsyncIterator[RunningService]:
    port = free_port()
    own = environment(settings, **{port_setting: port}, **variables)
    log = settings.data / f"{name}.log"
    async with running_program(name, (*program, name), own, port, log, core) as service:
        yield service


@asynccontextmanager
async def running_program(
    name: str,
    command: Sequence[str],
    variables: Mapping[str, str],
    port: int,
    log: Path,
    core: int | None,
) -> AsyncIterator[RunningService]:
    """Run any program that answers `GET /health/ready` at the port, with this whole environment.

    Raises MeasurementFailed where it does not come up, ends by itself, or with another exit code than 0.
    """
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *pinned(command, core),
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        await _ready(process, port)
        service = RunningService(name, port, process, log)
        try:
            yield service
        except MeasurementFailed:
            await service.require_not_ending()
            raise
        service.require_running()
    except NotReady as error:
        raise MeasurementFailed(f"the {name} {error}: {_last_line(log)}") from error
    finally:
        await _end(process)
    if process.returncode != 0:
        raise MeasurementFailed(f"the {name} ended with {process.returncode}: {_last_line(log)}")


def environment(settings: Settings, **variables: object) -> dict[str, str]:
    """Return the environment of a service on the stores of `settings`; the rest is as it is here."""
    ours: Mapping[str, object] = {
        "DATA": settings.data,
        "DATABASE_URL": settings.database_url,
        "EVENTLOG_URL": settings.eventlog_url,
        "SEARCH_URL": settings.search_url,
        "TOPIC_PREFIX": settings.topic_prefix,
        "SEARCH_ALIAS": settings.search_alias,
        # The load names its authors itself, which only this machine may do.
        "AUTH": "off",
        "HOST": HOST,
        **variables,
    }
    return {**os.environ, **{f"MAEARI_{name}": str(value) for name, value in ours.items()}}


class NotReady(Exception):
    """The service did not come up; the text says what it did instead."""


async def _ready(process: asyncio.subprocess.Process, port: int) -> None:
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            while not await _answers_well(port):
                if process.returncode is not None:
                    raise NotReady(f"ended with {process.returncode}")
                await asyncio.sleep(_ASK_EVERY_S)
    except TimeoutError:
        raise NotReady(f"was not ready within {_READY_WITHIN_S:g} s") from None


async def _answers_well(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        writer.write(f"GET /health/ready HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to stop, and kill it when it does not."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):  # it has just ended by itself
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_ENDS_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def free_port() -> int:
    """Return a port that nobody listens at."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
