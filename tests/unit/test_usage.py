"""How a command line ends that was not carried out."""

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
