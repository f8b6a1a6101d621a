"""How a command line ends that was not carried out."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from maeari.usage import OneLineGroup


@click.group(cls=OneLineGroup)
def tool() -> None:
    """Two ways not to be done."""


@tool.command()
def interrupted() -> None:
    raise KeyboardInterrupt


@tool.command()
def declined() -> None:
    click.confirm("Go on?", abort=True)


@pytest.mark.parametrize(
    ("command", "code", "line"), [("interrupted", 130, "interrupted"), ("declined", 1, "not done")]
)
def test_its_exit_code_says_why(command: str, code: int, line: str) -> None:
    """Ctrl-C is told from a `no`, also before the work has begun."""
    result = CliRunner().invoke(tool, [command], input="n\n")
    assert result.exit_code == code
    assert result.output.splitlines()[-1] == f"maeari: {line}"


@pytest.mark.parametrize("arguments", [("export", "--help"), ("--version",), ("topics", "show")])
def test_a_stdout_that_takes_nothing_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Given a full disk, whoever wanted to keep what is said hears of it, without a traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "maeari", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, "maeari: stdout: No space left on device\n")
