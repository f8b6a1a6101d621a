"""Programs in Node.js: a temporary copy of their folder, with what npm installs for it."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_INSTALLED_WITHIN_S = 120.0


class NotInstalled(Exception):
    """There is no Node.js, or npm could not do its work; the text is one line."""


@dataclass(frozen=True)
class NodeFolder:
    """A folder whose programs can be run."""

    node: str
    path: Path

    def command(self, program: str) -> tuple[str, str]:
        """Return what runs a program of the folder."""
        return self.node, str(self.path / program)


@asynccontextmanager
async def installed(sources: Path, *command: str) -> AsyncIterator[NodeFolder]:
    """Copy the folder and run npm's command in it; the copy is gone after the block. Raises NotInstalled."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstalled("there is no node, or no npm; install Node.js")
    with tempfile.TemporaryDirectory(prefix="maeari-bench-node-") as folder:
        shutil.copytree(sources, folder, dirs_exist_ok=True)
        await _run((npm, *command, "--no-audit", "--no-fund"), folder)
        yield NodeFolder(node, Path(folder))


async def _run(command: tuple[str, ...], folder: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_INSTALLED_WITHIN_S):
            _, errors = await process.communicate()
    except TimeoutError:
        raise NotInstalled(f"npm was not done within {_INSTALLED_WITHIN_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or [f"npm exited {process.returncode}"]
        raise NotInstalled(f"npm cannot install what is measured: {lines[-1]}")
