"""Options of `maeari rebuild` that have no part in a target are refused: none is passed over in silence."""

import pytest
from click.testing import CliRunner

from maeari.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [
        ("notifications", "--rollback"),
        ("notifications", "--accept-differences"),
        ("notifications", "--into"),
        ("database", "--drop"),
        ("database", "--as-of"),
        ("search", "--into"),
        ("search", "--accept-differences"),
    ],
)
def test_it_is_refused_with_one_line(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["rebuild", *arguments])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "No such option" in result.output
    assert arguments[1] in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("notifications", "--from", "state"), "'state' is not one of 'events', 'archive'"),
        (("search", "--from", "memory"), "'memory' is not one of"),
        (("nothing",), "No such command 'nothing'"),
    ],
)
def test_what_there_is_not_is_named(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(main, ["rebuild", *arguments])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert said in result.output


def test_no_number_of_seconds_is_no_timeout() -> None:
    result = CliRunner().invoke(main, ["verify", "--timeout", "nan"])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "nan is not a number of seconds" in result.output
