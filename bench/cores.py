"""Cores for what is measured and for what measures, so that neither takes time from the other."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """The core of the server and that of the load generator; None where they cannot be had."""

    server: int | None = None
    load: int | None = None

    def __str__(self) -> str:
        if self.server is None:
            return f"{os.cpu_count()}, shared by backend, load and stores"
        return f"{os.cpu_count()}; backend on {self.server}, load on {self.load}, stores on any"


@contextmanager
def own_core() -> Iterator[Cores]:
    """Keep this process, the load generator, on one core for the block, where the system can."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(allowed) < 2:
        yield Cores()
        return
    cores = Cores(server=allowed[0], load=allowed[1])
    os.sched_setaffinity(0, {allowed[1]})
    try:
        yield cores
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Move this process to a core for the block, where one is given."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pinned(command: Sequence[str], core: int | None) -> tuple[str, ...]:
    """Return the command that keeps all threads of a program on a core: those it starts with, too."""
    taskset = shutil.which("taskset")
    if core is None or taskset is None:
        return tuple(command)
    return (taskset, "-c", str(core), *command)
