"""A bare `ws` server in Node.js, to compare fan-outs with: npm fetches `ws` into a temporary folder."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from backbone.errors import SetupError
from bench.failure import MeasurementFailed
from bench.npm import NotInstalled, installed

_SOURCES = Path(__file__).parent / "node"
_READY_WITHIN_S = 20.0


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
    async with AsyncExitStack() as stack:
        try:
            folder = await stack.enter_async_context(installed(_SOURCES, "install", "--no-package-lock"))
        except NotInstalled as error:
            raise SetupError(f"--node: {error}, or leave the option out") from error
        process = await asyncio.create_subprocess_exec(
            *folder.command("fan_out.js"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            yield NodeServer(await _port_of(process), process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _port_of(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None, "it was opened with one"
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            return int(await process.stdout.readline())
    except (TimeoutError, ValueError) as error:
        raise MeasurementFailed("the server in Node.js did not come up") from error
