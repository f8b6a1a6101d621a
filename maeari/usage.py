"""What all commands share: an option, and wrong usage in one line, as every other error."""

import errno
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from maeari.process import FAILED, WRONG_SETUP, fail

Command = Callable[..., Any]

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the embedded files, in place of MAEARI_DATA.",
)


def timeout_option(default_s: float, help_: str) -> Callable[[Command], Command]:
    """Return `--timeout SECONDS`, which is a number of seconds within a day."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0, 86_400),
        callback=lambda _context, _option, value: _seconds(value),
        default=default_s,
        show_default=True,
        help=help_,
    )


def _seconds(value: float) -> float:
    """Return a number of seconds; what is none lies in no range, and passes every one of click's."""
    if math.isnan(value):
        raise click.BadParameter(f"{value} is not a number of seconds")
    return value


@contextmanager
def _all_said() -> Iterator[None]:
    """Write out what was said; a stdout that is full is told in one line, one that nobody reads in none."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE}:
            raise
        # Python writes once more what is left as it ends, and would show a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            raise SystemExit(FAILED) from error
        fail(f"stdout: {error.strerror}", FAILED)


class OneLineGroup(click.Group):
    """The group of all commands; what click would print in several lines becomes one."""

    def main(self, *arguments: Any, **more: Any) -> Any:
        """Run a command and end the process, see click.Group.main."""
        try:
            with _all_said():
                code = super().main(*arguments, **{**more, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as asked:
            click.echo(asked.format_message(), err=True)
            code = WRONG_SETUP
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "maeari"
            said = " ".join(error.format_message().split()).removesuffix(".")
            fail(f"{said}: see `{path} --help`", WRONG_SETUP)
        except click.ClickException as error:
            fail(" ".join(error.format_message().split()), WRONG_SETUP)
        except click.Abort as abort:
            if isinstance(abort.__cause__, KeyboardInterrupt):
                fail("interrupted", 128 + signal.SIGINT)
            fail("not done", FAILED)
        raise SystemExit(code or 0)
