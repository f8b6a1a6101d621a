"""A process that is measured from outside: what it said, and the most memory that was its own."""

import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.failure import MeasurementFailed

_LOOK_EVERY_S = 0.02


def ran(command: Sequence[str], environment: Mapping[str, str]) -> tuple[bytes, float]:
    """Run a process to its end; return what it said on stdout, and its peak memory in MiB.

    The system's own record (`ru_maxrss`) would not do: it counts what the parent held when it was started.
    Raises MeasurementFailed with the last line of stderr.
    """
    with subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        peak = _Peak(process)
        peak.start()
        output, errors = process.communicate()
        peak.join()
    if process.returncode:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise MeasurementFailed(f"{' '.join(command[2:])} answered {process.returncode}: {''.join(last)}")
    return output, peak.kib / 1024


class _Peak(threading.Thread):
    """Looks at a process again and again until it has ended: its high-water mark never falls."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.kib = 0
        self._process = process
        self._status = Path(f"/proc/{process.pid}/status")

    def run(self) -> None:
        ended = threading.Event()
        while self._process.poll() is None and self._look():
            ended.wait(_LOOK_EVERY_S)

    def _look(self) -> bool:
        """Return whether there is more to be seen."""
        try:
            lines = self._status.read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        self.kib = max([self.kib, *marks])
        # Right after the fork it is still the parent's; a process that has ended has none.
        return True
