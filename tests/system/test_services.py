"""What every service does to the process that it runs in."""

import resource
from pathlib import Path

from tests.system.processes import Surroundings


async def test_a_service_takes_the_open_files_that_it_may(tmp_path: Path) -> None:
    """A soft limit of 200 does not hold a notifier down where the hard one is higher."""
    surroundings = Surroundings(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        process = await surroundings.start("dev", probe=surroundings.ports.api)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        allowed, _ = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    finally:
        process.terminate()
        await process.wait()
    assert allowed == min(65_536, hard)
