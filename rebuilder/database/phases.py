"""How long each phase of a rebuild took, those that were gone through several times all together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Seconds, by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count the time of the block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.monotonic() - began, 3)
