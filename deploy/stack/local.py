"""The stack as plain processes of this machine, its programs from the package registries."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from deploy.stack.elasticsearch import Elasticsearch
from deploy.stack.errors import StackError, UsageError
from deploy.stack.kafka import Kafka
from deploy.stack.postgres import Postgres
from deploy.stack.process import tail
from deploy.stack.settings import Settings, require_space

FIRST_INSTALL_MEBIBYTES = 2000
RUNNING_MEBIBYTES = 300


class LocalStack:
    """The three servers, each started, stopped and repaired by itself, side by side."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kafka = Kafka(settings)
        self._servers: dict[str, Kafka | Elasticsearch | Postgres] = {
            "kafka": self._kafka,
            "elasticsearch": Elasticsearch(settings),
            "postgres": Postgres(settings),
        }

    @property
    def brokers(self) -> int:
        """How many brokers the cluster has or will have."""
        return self._kafka.brokers()

    def up(self, brokers: int | None) -> list[str]:
        """Starts what does not run; returns what went wrong, one line a server."""
        installed = (self._settings.root / "elasticsearch").exists()
        require_space(self._settings.root, RUNNING_MEBIBYTES if installed else FIRST_INSTALL_MEBIBYTES)
        self._kafka.ask_for(brokers)
        failures = _together(server.start for server in self._servers.values())
        if not failures:
            # All is installed; what Maven downloaded is there twice.
            shutil.rmtree(self._settings.root / "maven", ignore_errors=True)
        return failures

    def down(self) -> list[str]:
        """Stops everything, keeps the data; returns what went wrong."""
        return _together(server.stop for server in self._servers.values())

    def wipe(self, names: Sequence[str]) -> list[str]:
        """Stops the named servers and drops their data; returns what went wrong."""
        return _together(self._servers[name].wipe for name in names)

    def status(self) -> tuple[list[str], bool]:
        """One line a process, and whether all run."""
        lines = [line for server in self._servers.values() for line in server.status()]
        return lines, all(server.running() for server in self._servers.values())

    def logs(self, count: int) -> list[str]:
        """The last lines of each log, under its path."""
        shown = []
        for server in self._servers.values():
            for path in server.logs():
                shown += [f"==> {path}", *(tail(path, count) or ["(empty)"])]
        return shown

    def kill(self, name: str) -> None:
        """Ends `postgres` or `elasticsearch` as a crash would."""
        server = self._servers[name]
        if isinstance(server, Kafka):
            raise UsageError("a broker is killed by its number")
        server.kill()

    def start(self, name: str) -> None:
        """Starts one server again, or what is missing of it, and waits until it serves."""
        self._servers[name].start()

    def kill_broker(self, broker: int) -> None:
        """Ends one broker as a crash would."""
        self._kafka.kill_broker(broker)

    def start_broker(self, broker: int) -> None:
        """Starts one broker again."""
        self._kafka.start_broker(broker)


def _together(tasks: Iterable[Callable[[], object]]) -> list[str]:
    """Runs all side by side to their ends; returns the messages of those that failed."""

    def attempt(task: Callable[[], object]) -> str | None:
        try:
            task()
        except StackError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename or 'the system'}: {error.strerror or error}"
        return None

    with ThreadPoolExecutor() as pool:
        failed = [message for message in pool.map(attempt, tasks) if message is not None]
    return list(dict.fromkeys(failed))  # what two servers lack alike is said once
