"""Processes that outlive the command that started them, known by a pid file.

Guarantees: a pid file is believed only while that process's command line still carries the
server's own marker (a path inside the stack), so a re-used pid is never signalled; the child writes
the pid file itself before it becomes the server, so a killed command leaves no unknown server.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.account import OWN, Account
from deploy.stack.errors import StackError
from deploy.stack.settings import HOST

STOP_TIMEOUT_S = 30.0
LAUNCH_TIMEOUT_S = 10.0
POLL_S = 0.1
PORT_FREE_WITHIN_S = 2.0
PROC = Path("/proc")  # Linux has it; elsewhere `ps` is asked
START_LINE = "---- start ----"
# The lines that say most about a server that would not start, best first.
TELLING = (r"^Caused by: ", r"^[\w.$]+(Exception|Error): ", r"PANIC|FATAL", r"ERROR|[Ee]rror:")
# The shell records its own pid and is replaced by the server.
LAUNCH = 'echo $$ >"$1.new" && mv "$1.new" "$1" && shift && exec "$@"'


@dataclass(frozen=True)
class ServerProcess:
    """One server: what it is called, where its pid is written, what its command line carries."""

    name: str
    pid_file: Path
    marker: str

    def pid(self) -> int | None:
        """The process id while the server lives, else None."""
        try:
            pid = int(self.pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if self.marker in command_line(pid) else None

    def spawn(
        self,
        command: Sequence[str],
        log: Path,
        environ: Mapping[str, str],
        account: Account,
    ) -> None:
        """Starts the server in a session of its own, its output appended to the log."""
        rotate(log)
        self.pid_file.unlink(missing_ok=True)
        with log.open("ab") as output:
            output.write(START_LINE.encode() + b"\n")
            output.flush()
            child = subprocess.Popen(
                ["/bin/sh", "-c", LAUNCH, "sh", str(self.pid_file), *account.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environ),
                cwd=log.parent,
                start_new_session=True,
                **account.options(),
            )
        # The shell's own command line carries the marker too: no gap until the server takes over.
        wait_until(lambda: self.pid() is not None or child.poll() is not None, LAUNCH_TIMEOUT_S)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> bool:
        """Ends the server, by force when it does not obey; says whether there was one."""
        pid = self.pid()
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        _signal(pid, by)
        if not wait_until(lambda: not self._lives(pid), STOP_TIMEOUT_S):
            _signal(pid, signal.SIGKILL)
            if not wait_until(lambda: not self._lives(pid), STOP_TIMEOUT_S):
                raise StackError(f"{self.name} (process {pid}) does not end, not even by force")
        self.pid_file.unlink(missing_ok=True)
        return True

    def _lives(self, pid: int) -> bool:
        return self.marker in command_line(pid)


def run_tool(
    command: Sequence[str | Path],
    log: Path,
    environ: Mapping[str, str] | None = None,
    account: Account = OWN,
    text: str = "",
) -> bool:
    """Runs an installer to its end, its output appended to the log; says whether it succeeded.

    It inherits the stack's lock. When this command is killed and the tool lives on, the next command
    waits for it, rather than working in the same folders.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            [*account.prefix, *map(str, command)],
            input=text.encode(),
            stdout=output,
            stderr=output,
            env=environ,
            cwd=log.parent,
            check=False,
            close_fds=False,
            **account.options(),
        )
    return done.returncode == 0


def command_line(pid: int) -> str:
    """The process's command line; empty when there is no such process, or only its zombie."""
    if (PROC / "self" / "cmdline").exists():
        try:
            return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            return ""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout


def kill_with_children(pid: int) -> None:
    """Kills a process and its children; it is stopped first, so that it makes no more of them."""
    _signal(pid, signal.SIGSTOP)
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = (line.split() for line in listed.stdout.splitlines())
    for child in (int(child) for child, parent in pairs if int(parent) == pid):
        _signal(child, signal.SIGKILL)
    _signal(pid, signal.SIGKILL)


def resident_mebibytes(pid: int) -> int:
    """Memory held by the process, for `status`; 0 when it cannot be told."""
    shown = PROC / str(pid) / "statm"
    try:
        if shown.exists():
            return int(shown.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        return int(subprocess.run(command, capture_output=True, check=False).stdout) >> 10
    except (OSError, ValueError, IndexError):
        return 0


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Polls until the condition holds; False when the time ran out."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def port_answers(port: int) -> bool:
    """Whether anything listens on the loopback port."""
    try:
        with socket.create_connection((HOST, port), timeout=2):
            return True
    except OSError:
        return False


def require_free_port(port: int, server: str, setting: str) -> None:
    """Refuses a port that somebody else holds, before a server is started on it.

    A process that was killed a moment ago may hold it a moment longer.
    """
    if not wait_until(lambda: _refusal(port) is None, PORT_FREE_WITHIN_S):
        raise StackError(
            f"{server}: port {port} is taken by another program ({_refusal(port)}): "
            f"end that program, or set {setting} to another port"
        )


def _refusal(port: int) -> str | None:
    """Why the port cannot be had; None when it is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def rotate(log: Path, limit_bytes: int = 5_000_000) -> None:
    """Keeps a log that only grows by appending within twice the limit."""
    if log.exists() and log.stat().st_size > limit_bytes:
        log.replace(log.with_name(log.name + ".old"))


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log; empty when there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as text:
            return [line.rstrip("\n") for line in deque(text, maxlen=lines)]
    except OSError:
        return []


def reason(log: Path) -> str:
    """ ": " and the most telling line since the last start, to be put into a message, or nothing."""
    lines = tail(log, 500)
    starts = [number for number, line in enumerate(lines) if line == START_LINE]
    lines = lines[starts[-1] :] if starts else lines
    for pattern in TELLING:
        for line in reversed(lines):
            if re.search(pattern, line):
                return f": {line.strip()[:300]}"
    return ""


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise StackError(f"process {pid} belongs to another user: run this command as that user") from error
