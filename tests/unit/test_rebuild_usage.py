"""Options of `maeari rebuild` that have no part in a target are refused: none is passed over in silence."""

import pytest
from click.testing import CliRunner

from maeari.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [
        ("notifications", "--rollback"),
        ("notifications", "--accept-differences"),
        ("notifications", "--into", "x"),
        ("database", "--drop"),
        ("search", "--into", "x"),
        ("search", "--accept-differences"),
    ],
)
def test_it_is_refused_with_one_line(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["rebuild", *arguments])
    assert result.exit_code == 2
    assert f"{arguments[1]} has no part in rebuild {arguments[0]}" in result.output
