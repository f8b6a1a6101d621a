"""Ends what a test run started once the run itself is gone, however it went: standard input says when.

    python -m tests.faults.guard FOLDER

Each line that it reads is the id of a process that runs in FOLDER; at the end of its input it kills those
that still do, and takes the stack in FOLDER down and its data with it.
"""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.stack.local import LocalStack
from deploy.stack.process import command_line
from deploy.stack.settings import Settings

EVERY_SERVER = ("kafka", "elasticsearch", "postgres")


def main(folder: Path, pids: Iterable[str]) -> None:
    """Wait for the end of `pids`, then clean up."""
    started = [int(pid) for pid in pids]
    for pid in started:
        if "maeari" in command_line(pid):
            os.kill(pid, signal.SIGKILL)
    for failure in LocalStack(Settings(folder)).wipe(EVERY_SERVER):
        sys.stderr.write(f"{failure}\n")


if __name__ == "__main__":
    # Ctrl-C goes to everybody at the terminal; this process ends after the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(Path(sys.argv[1]), sys.stdin)
