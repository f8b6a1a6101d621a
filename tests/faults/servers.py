"""A stack of the tests' own: three brokers, PostgreSQL and Elasticsearch, to be killed and repaired.

Its data is made anew for each test run and goes with it; the programs are those of the default stack.
"""

import fcntl
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deploy.stack.local import LocalStack
from deploy.stack.settings import PROXY_PORT_OFFSET, Settings, read_settings
from tests.faults.guard import EVERY_SERVER

BROKERS = (1, 2, 3)
ROOT = Path(__file__).parents[2]


class Servers:
    """The servers of one test run."""

    def __init__(self, settings: Settings, guard: IO[str]) -> None:
        self.settings = settings
        self._stack = LocalStack(settings)
        self._guard = guard

    @property
    def variables(self) -> dict[str, str]:
        """The settings of the product for these servers, without `MAEARI_`."""
        pairs = (line.removeprefix("MAEARI_").split("=", 1) for line in self.settings.lines(len(BROKERS)))
        return dict(pairs)

    @property
    def proxied_brokers(self) -> dict[int, int]:
        """Where a proxy has to stand for each broker, and the port by which it reaches the broker."""
        return {self.settings.proxy_port(i): self.settings.proxied_port(i) for i in BROKERS}

    def kill_broker(self, broker: int) -> None:
        self._stack.kill_broker(broker)

    def start_broker(self, broker: int) -> None:
        """Return once the broker answers; its replicas catch up afterwards."""
        self._stack.start_broker(broker)

    def kill(self, name: str) -> None:
        """Kill `postgres`, with all its processes, or `elasticsearch`."""
        self._stack.kill(name)

    def start(self, name: str) -> None:
        """Return once the server serves."""
        self._stack.start(name)

    def repair(self) -> None:
        """Start what does not run; return once everything serves."""
        failures = self._stack.up(len(BROKERS))
        assert not failures, "\n".join(failures)

    def watch(self, pid: int) -> None:
        """Have a process killed when this test run is gone."""
        self._guard.write(f"{pid}\n")
        self._guard.flush()

    def logs(self, lines: int) -> str:
        """Return the path and the end of each server's log."""
        return "\n".join(self._stack.logs(lines))


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Run the servers during the block."""
    programs = read_settings({}).root
    folder = programs.with_name(f"{programs.name}-faults")
    folder.mkdir(parents=True, exist_ok=True)
    programs.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        # Another test run on this machine has its turn first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        LocalStack(Settings(folder)).wipe(EVERY_SERVER)
        settings = _with_free_ports(folder, programs)
        command = [sys.executable, "-m", "tests.faults.guard", str(folder)]
        guard = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True, start_new_session=True)
        assert guard.stdin is not None
        try:
            servers = Servers(settings, guard.stdin)
            # Commands on the other stack install into the same folder.
            with (programs / "lock").open("a") as programs_lock:
                fcntl.flock(programs_lock, fcntl.LOCK_EX)
                servers.repair()
            yield servers
        finally:
            guard.stdin.close()
            guard.wait()


def _with_free_ports(folder: Path, programs: Path) -> Settings:
    """Choose ports below the ephemeral ones at which nobody answers."""
    for _ in range(100):
        first = random.randrange(20_000, 31_000)
        settings = Settings(
            folder,
            programs,
            first,
            first + 10,
            first + 20,
            docker_allowed=False,
            proxied=True,
            short_lived=True,
        )
        ports = range(first, first + PROXY_PORT_OFFSET + 30)
        if not any(map(_taken, ports)):
            return settings
    raise AssertionError("no free ports below 32768")


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
