"""Processes of the product, as their users start them: ended by their own id, their log shown on failure."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.waiting import until

# The project's own command, from the environment that runs the tests.
MAEARI = Path(sys.executable).parent / "maeari"
READY_WITHIN_S = 40
END_WITHIN_S = 15
_LOG_TAIL_LINES = 40


@dataclass(frozen=True)
class Ports:
    """The ports of one system; each is free when it is chosen, and below the ephemeral ones."""

    api: int
    sockets: int
    indexer: int
    notifier: int


# What was given to a process that may not listen yet looks free to the next one.
_given: set[int] = set()


def free_ports() -> Ports:
    """Choose four ports that were not chosen before."""
    chosen: list[int] = []
    while len(chosen) < 4:
        port = random.randrange(20_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        chosen.append(port)
        _given.add(port)
    return Ports(*chosen)


@dataclass(frozen=True)
class Surroundings:
    """Where processes run: a folder without a `.env`, ports of its own, and nothing but these settings.

    Settings are named without `MAEARI_`; without any, the stores are files in the folder.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    ports: Ports = field(default_factory=free_ports)
    command_within_s: float = 60.0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a process."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAEARI_")}
        ours = {
            "DATA": str(self.data),
            "PORT": str(self.ports.api),
            "WEBSOCKET_PORT": str(self.ports.sockets),
            "METRICS_PORT": str(self.ports.indexer),
            **self.settings,
            **more,
        }
        return {**inherited, **{f"MAEARI_{name}": value for name, value in ours.items()}}

    async def run(self, *arguments: str) -> str:
        """Run a command to its end; return its stdout. It must succeed."""
        code, output, errors = await self.attempt(*arguments)
        assert code == 0, f"maeari {' '.join(arguments)}: {errors}"
        return output

    async def attempt(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Run a command to its end; return its exit code, stdout and stderr."""
        process = await asyncio.create_subprocess_exec(
            MAEARI,
            *arguments,
            cwd=self.folder,
            env=self.environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self.command_within_s):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def start(self, *arguments: str, probe: int, **settings: str) -> asyncio.subprocess.Process:
        """Start a service and wait until its probe at the port is well; ending it is the caller's."""
        with self._log(arguments[0]).open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                MAEARI,
                *arguments,
                cwd=self.folder,
                env=self.environment(**settings),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            await _ready(process, probe)
        except BaseException:
            self._show_log(arguments[0])
            await _end(process)
            raise
        return process

    @asynccontextmanager
    async def running(self, *arguments: str, probe: int, **settings: str) -> AsyncIterator[None]:
        """Run a service while the block lasts; it must neither end by itself nor fail to stop."""
        process = await self.start(*arguments, probe=probe, **settings)
        try:
            yield
            assert process.returncode is None, f"maeari {arguments[0]} ended by itself"
        except BaseException:
            self._show_log(arguments[0])
            raise
        finally:
            await _end(process)
        assert process.returncode == 0, f"maeari {arguments[0]} ended with {process.returncode} on SIGTERM"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _show_log(self, name: str) -> None:
        log = self._log(name)
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        sys.stderr.write(f"--- the end of {log.name}\n" + "\n".join(tail) + "\n")


async def _ready(process: asyncio.subprocess.Process, port: int) -> None:
    async with httpx.AsyncClient() as client:

        async def well() -> bool:
            assert process.returncode is None, "the process ended before it was ready"
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/health/ready")
            except httpx.TransportError:
                return False
            return answer.status_code == 200

        await until(well, READY_WITHIN_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to stop, and kill it when it does not."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(END_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
