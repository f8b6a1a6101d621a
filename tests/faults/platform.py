"""The platform under test: two backends, three indexers, three notifiers, each a process of its own.

They belong to no event loop, so that they can live through many tests.
"""

import re
import resource
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from backbone.settings import Settings, read_settings
from deploy.stack.process import tail, wait_until
from tests.faults.servers import Servers
from tests.system.processes import MAEARI, Surroundings

BACKENDS, CONSUMERS = 2, 3
# These serve no API: their probes have a port of their own.
PROBED_APART = ("indexer", "notifier")
READY_WITHIN_S = 60.0
END_WITHIN_S = 10.0


class Member:
    """One process of the platform; it can be started again and again, under the same settings."""

    def __init__(
        self, command: str, name: str, surroundings: Surroundings, watch: Callable[[int], None]
    ) -> None:
        self.name = name
        self._command = command
        self._surroundings = surroundings
        self._watch = watch
        self._process: subprocess.Popen[bytes] | None = None
        ports = surroundings.ports
        self._probe = f"http://127.0.0.1:{ports.indexer if command in PROBED_APART else ports.api}"
        surroundings.folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where it serves probes and metrics; of a backend, the API too."""
        return self._probe

    @property
    def sockets_url(self) -> str:
        """Where a notifier serves sockets."""
        return f"ws://127.0.0.1:{self._surroundings.ports.sockets}/ws"

    @property
    def log(self) -> Path:
        return self._surroundings.folder / f"{self._command}.log"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, **changed: str) -> None:
        """Start it, under settings that may differ from the platform's; it is not ready yet."""
        assert not self.alive
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [MAEARI, self._command],
                cwd=self._surroundings.folder,
                env=self._surroundings.environment(**changed),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._watch(self._process.pid)

    def wait_ready(self) -> None:
        """Return once its probe is well. Raises AssertionError, with the end of its log, when it is not."""
        assert wait_until(self.ready, READY_WITHIN_S), f"{self.name} is not ready\n{self.log_tail(20)}"

    def ready(self) -> bool:
        assert self.alive, f"{self.name} has ended\n{self.log_tail(20)}"
        try:
            return httpx.get(f"{self._probe}/health/ready", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9; return once it is gone."""
        assert self.alive, f"{self.name} has ended by itself\n{self.log_tail(20)}"
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def limit(self, what: int, soft: int) -> None:
        """Set a soft limit of the running process, as `ulimit -S` does before one starts."""
        assert self._process is not None
        _, hard = resource.prlimit(self._process.pid, what)
        resource.prlimit(self._process.pid, what, (soft, hard))

    def end(self) -> int:
        """Ask it to stop; return its exit code."""
        self.signal(signal.SIGTERM)
        assert self._process is not None
        return self._process.wait(END_WITHIN_S)

    def metric(self, name: str) -> float:
        """Return the sum over all labels; 0 where the process does not answer."""
        try:
            text = httpx.get(f"{self._probe}/metrics", timeout=2).text
        except httpx.TransportError:
            return 0.0
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def log_tail(self, lines: int) -> str:
        return "\n".join([f"==> {self.log}", *tail(self.log, lines)])


class Platform:
    """All members over one set of stores; `settings` are those that a test opens the stores with."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers = servers
        self._variables = {
            **servers.variables,
            "TOPIC_PREFIX": "faults.platform",
            "SEARCH_ALIAS": "faults-messages",
            "LOG_FORMAT": "json",
        }
        self._folder = folder
        self.backends = [self._member("backend", number) for number in range(BACKENDS)]
        self.indexers = [self._member("indexer", number) for number in range(CONSUMERS)]
        self.notifiers = [self._member("notifier", number) for number in range(CONSUMERS)]
        self._tools = Surroundings(folder, self._variables)

    @property
    def groups(self) -> Sequence[Sequence[Member]]:
        """Backends, indexers, notifiers."""
        return (self.backends, self.indexers, self.notifiers)

    @property
    def members(self) -> Sequence[Member]:
        return [member for group in self.groups for member in group]

    @property
    def settings(self) -> Settings:
        return read_settings(self._tools.environment(), dotenv=None)

    def set_up(self) -> None:
        """Make tables and topics."""
        for arguments in (("migrate",), ("topics", "apply")):
            subprocess.run(
                [MAEARI, *arguments],
                cwd=self._folder,
                env=self._tools.environment(),
                check=True,
                stdout=subprocess.DEVNULL,
            )

    def start(self) -> None:
        """Start what does not run, and wait until all are ready."""
        for member in self.members:
            if not member.alive:
                member.start()
        for member in self.members:
            member.wait_ready()

    def repair(self) -> None:
        """Bring servers and members back, whatever was done to them."""
        self.servers.repair()
        for member in self.members:
            if member.alive:
                member.signal(signal.SIGCONT)
        self.start()

    def end(self) -> None:
        """Stop every member; each must end by itself, and well."""
        running = [member for member in self.members if member.alive]
        with ThreadPoolExecutor(len(self.members)) as pool:
            codes = dict(zip((member.name for member in running), pool.map(Member.end, running), strict=True))
        assert set(codes.values()) <= {0}, f"exit codes on SIGTERM: {codes}"

    def kill(self) -> None:
        """Kill whatever still runs."""
        for member in self.members:
            if member.alive:
                member.kill()

    def logs(self, lines: int) -> str:
        """Return the path and the end of each member's log."""
        return "\n".join(member.log_tail(lines) for member in self.members)

    def _member(self, command: str, number: int) -> Member:
        name = f"{command}-{number}"
        surroundings = Surroundings(self._folder / name, self._variables)
        return Member(command, name, surroundings, self.servers.watch)


def others(members: Iterable[Member], but: Member) -> list[Member]:
    """Return the members without one of them."""
    return [member for member in members if member is not but]
