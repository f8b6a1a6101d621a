"""What a process knows of its dependencies, for `/health/ready` and for people."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backbone.errors import Busy, Unavailable
from backbone.waiting import stopped_within

ANSWER_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of a probe: `ready` False means that the process cannot do its main work."""

    ready: bool
    status: str
    dependencies: dict[str, str]


class Health:
    """The last known state of each dependency; the essential ones decide whether the process is ready."""

    def __init__(self, *essential: str) -> None:
        self._essential = frozenset(essential)
        self._states: dict[str, str] = dict.fromkeys(essential, "ok")

    def up(self, dependency: str) -> None:
        """Note that the dependency answered."""
        self._states[dependency] = "ok"

    def down(self, dependency: str, detail: str) -> None:
        """Note that the dependency did not answer, and what it was heard to say."""
        self._states[dependency] = detail

    def heard(self, error: Unavailable) -> None:
        """Note what an error says of its dependency: nothing, where this process itself is what is busy."""
        if not isinstance(error, Busy):
            self.down(error.dependency, error.detail)

    def readiness(self) -> Readiness:
        """Return what the probe answers."""
        troubled = {name for name, state in self._states.items() if state != "ok"}
        return Readiness(
            ready=not troubled & self._essential,
            status="degraded" if troubled else "ok",
            dependencies=dict(sorted(self._states.items())),
        )


async def keep_asking(
    health: Health,
    dependency: str,
    ask: Callable[[], Awaitable[object]],
    every_s: float,
    stop: asyncio.Event,
) -> None:
    """Ask a dependency something small until `stop` is set, and note whether it answers in time."""
    asking: asyncio.Future[object] | None = None
    try:
        while not stop.is_set():
            if asking is None:
                asking = asyncio.ensure_future(ask())
            await asyncio.wait({asking}, timeout=ANSWER_WITHIN_S)
            if not asking.done():
                # It is not cancelled: a connection to a server that hangs can hang while it is given up, too.
                health.down(dependency, f"no answer within {ANSWER_WITHIN_S:g} s")
                continue
            try:
                asking.result()
            except Unavailable as error:
                if not isinstance(error, Busy):
                    health.down(dependency, error.detail)
            else:
                health.up(dependency)
            asking = None
            await stopped_within(stop, every_s)
    finally:
        if asking is not None:
            asking.cancel()
