"""A bare `ws` server in Node.js, to compare fan-outs with: npm fetches `ws` into a temporary folder."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from backbone.errors import SetupError
from bench.failure import MeasurementFailed

_SOURCES = Path(__file__).parent / "node"
_INSTALLED_WITHIN_S = 120.0
_READY_WITHIN_S = 20.0
_INSTALL = ("install", "--no-audit", "--no-fund", "--no-package-lock")


@dataclass(frozen=True)
class NodeServer:
    """The server: what `send` is given goes to each of its sockets, as one text frame."""

    port: int
    process: asyncio.subprocess.Process

    def send(self, text: bytes) -> None:
        """Send one line to everyone."""
        assert self.process.stdin is not None, "it was opened with one"
        self.process.stdin.write(text + b"\n")


@asynccontextmanager
async def running_node() -> AsyncIterator[NodeServer]:
    """Run the server while the block lasts. Raises SetupError where there is no Node.js, or no `ws`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SetupError("--node: there is no node, or no npm; install Node.js, or leave the option out")
    with tempfile.TemporaryDirectory(prefix="maeari-bench-node-") as folder:
        shutil.copytree(_SOURCES, folder, dirs_exist_ok=True)
        await _install(npm, folder)
        process = await asyncio.create_subprocess_exec(
            node, "fan_out.js", cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            yield NodeServer(await _port_of(process), process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _install(npm: str, folder: str) -> None:
    process = await asyncio.create_subprocess_exec(
        npm, *_INSTALL, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_INSTALLED_WITHIN_S):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or [f"npm exited {process.returncode}"]
        raise SetupError(f"--node: npm cannot install ws: {lines[-1]}")


async def _port_of(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None, "it was opened with one"
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            return int(await process.stdout.readline())
    except (TimeoutError, ValueError) as error:
        raise MeasurementFailed("the server in Node.js did not come up") from error
