"""Progress for the person who waits: whole lines on stderr, from any thread."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """One line, written at once so that parallel servers do not mix theirs."""
    sys.stderr.write(f"stack: {line}\n")
    sys.stderr.flush()
