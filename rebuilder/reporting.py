"""What every rebuild says and answers: a report on stdout, a refusal on stderr, an exit code."""

import sys
from collections.abc import Awaitable, Iterator
from typing import Protocol

from rebuilder.refusal import Refusal
from schemas.events import encode

DONE, FAILED = 0, 1


class Told(Protocol):
    """What is alike in the reports of all targets."""

    @property
    def target(self) -> str: ...

    @property
    def outcome(self) -> str: ...

    @property
    def reason(self) -> str | None: ...

    @property
    def exit_code(self) -> int: ...

    def lines(self) -> Iterator[str]:
        """Yield what people read."""


def print_report(report: Told, as_json: bool) -> int:
    """Print a report, and beside JSON the reason of a refusal on stderr; return the exit code."""
    lines = "".join(f"{line}\n" for line in report.lines())
    sys.stdout.write(encode(report).decode() + "\n" if as_json else lines)
    if as_json and report.outcome == "refused":
        sys.stderr.write(f"maeari: rebuild {report.target} refused: {report.reason}\n")
    return report.exit_code


async def answered(work: Awaitable[int]) -> int:
    """Return the exit code of some work, or of its refusal, which is told."""
    try:
        return await work
    except Refusal as error:
        sys.stderr.write(f"maeari: {error}\n")
        return FAILED
