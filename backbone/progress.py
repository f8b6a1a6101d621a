"""How long work shows itself: a bar on a terminal, plain lines otherwise, always on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBars
from rich.text import Text

_LINE_EVERY_S = 5.0


class Progress(Protocol):
    """What work reports to: one step after the other, each of so many units."""

    def step(self, name: str, total: int | None = None) -> None:
        """Begin the next step; `total` None where it is not known."""

    def advance(self, units: int) -> None:
        """Say that so many units more are done."""


class Silent:
    """Shows nothing."""

    def step(self, name: str, total: int | None = None) -> None:
        """See Progress."""

    def advance(self, units: int) -> None:
        """See Progress."""


class Lines:
    """A line at the start of each step, and one every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._began = 0.0
        self._next_line = 0.0

    def step(self, name: str, total: int | None = None) -> None:
        """See Progress."""
        self._name, self._total, self._done = name, total, 0
        self._began = time.monotonic()
        self._next_line = self._began + _LINE_EVERY_S
        self._write(name if total is None else f"{name}: {total:,}")

    def advance(self, units: int) -> None:
        """See Progress."""
        self._done += units
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + _LINE_EVERY_S
            of = "" if self._total is None else f" of {self._total:,}"
            self._write(f"{self._name}: {self._done:,}{of}{self._pace(now)}")

    def _pace(self, now: float) -> str:
        rate = self._done / (now - self._began)
        if not rate:
            return ""
        left = "" if self._total is None else f", {max(0, self._total - self._done) / rate:.0f} s left"
        return f", {rate:,.0f}/s{left}"

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class RateColumn(ProgressColumn):
    """How many units a second are done."""

    def render(self, task: Task) -> Text:
        """See ProgressColumn."""
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


class Bars:
    """A bar for the present step, on a terminal."""

    def __init__(self, bars: RichBars) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None)

    def step(self, name: str, total: int | None = None) -> None:
        """See Progress."""
        self._bars.reset(self._task, description=name, total=total)

    def advance(self, units: int) -> None:
        """See Progress."""
        self._bars.advance(self._task, units)


@contextmanager
def shown_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield the progress that suits the stream (stderr); a bar is gone at the end of the block."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield Lines(stream)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with RichBars(*columns, console=Console(file=stream), transient=True) as bars:
        yield Bars(bars)
