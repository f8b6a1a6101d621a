"""Instructions that a process executes, counted by `perf stat` where the system can."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_PERF = ("stat", "--field-separator", ",", "--event", "instructions:u")


@dataclass
class Instructions:
    """How many a process executed in the block, None where the system does not count them."""

    counted: int | None = None


async def supported() -> bool:
    """Say whether this machine counts instructions, and lets us read the count."""
    perf = shutil.which("perf")
    if perf is None:
        return False
    process = await asyncio.create_subprocess_exec(
        perf, *_PERF, "true", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    return count_in(said.decode(errors="replace")) is not None


@asynccontextmanager
async def instructions_of(pid: int, wanted: bool) -> AsyncIterator[Instructions]:
    """Count within the block; what was found is there after it."""
    found = Instructions()
    perf = shutil.which("perf")
    if not wanted or perf is None:
        yield found
        return
    process = await asyncio.create_subprocess_exec(
        *(perf, *_PERF, "--pid", str(pid)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield found
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
        found.counted = count_in(said.decode(errors="replace"))


def count_in(said: str) -> int | None:
    """Return the count in what `perf stat` said; None where it has none."""
    for line in said.splitlines():
        count, _, rest = line.partition(",")
        if "instructions" in rest and count.isdecimal():
            return int(count)
    return None
