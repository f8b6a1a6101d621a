"""What a client is told whose request is given up: because it took too long, or because the server stops.

Guarantees: every request is answered within `within_s`. A write that is given up is stored whole or
not at all; asked again with the same Idempotency-Key it is answered as if nothing had happened.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from backbone.probes import Receive, Scope, Send, answer_with
from backend.api.problems import MEDIA_TYPE, Problem
from schemas.codec import encode

App = Callable[[Any, Any, Any], Awaitable[None]]

ANSWER_WITHIN_S = 30.0
_RETRY_AFTER_S = 2

log = structlog.get_logger()


def answering_when_given_up(app: App, within_s: float = ANSWER_WITHIN_S) -> App:
    """Answer 503 where a request that is cancelled, or lasts too long, has had no answer yet."""
    overdue = _Overdue(within_s)

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = False

        async def tracked(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        request = overdue.begin()
        try:
            await app(scope, receive, tracked)
        except asyncio.CancelledError:
            timed_out = overdue.ended(request)
            if started:
                raise
            if timed_out:
                request.uncancel()
                log.warning("request_timed_out", method=scope["method"], path=scope["path"])
                await _give_up(send, "timed-out", f"there was no answer within {within_s:g} s")
            else:
                await _give_up(send, "stopping", "the server is stopping")
        finally:
            overdue.ended(request)

    return wrapped


class _Overdue:
    """Cancels requests that last too long; one timer serves them all, as each of its own would cost much."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._began_s: dict[asyncio.Task[Any], float] = {}
        self._cancelled: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[Any]:
        """Note a request, which the present task answers."""
        loop = asyncio.get_running_loop()
        request = asyncio.current_task()
        assert request is not None, "a request is answered by a task"
        self._began_s[request] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._within_s, self._look)
        return request

    def ended(self, request: asyncio.Task[Any]) -> bool:
        """Forget a request; say whether it was cancelled here."""
        self._began_s.pop(request, None)
        if request not in self._cancelled:
            return False
        self._cancelled.discard(request)
        return True

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        # They stand in the order in which they began.
        while self._began_s:
            request, began_s = next(iter(self._began_s.items()))
            left_s = began_s + self._within_s - loop.time()
            if left_s > 0:
                self._timer = loop.call_later(left_s, self._look)
                return
            del self._began_s[request]
            self._cancelled.add(request)
            request.cancel()


async def _give_up(send: Send, slug: str, why: str) -> None:
    problem = Problem(
        type=f"/problems/{slug}",
        title="Service Unavailable",
        status=503,
        detail=f"{why}; ask again, with the same Idempotency-Key",
    )
    await answer_with(send, 503, MEDIA_TYPE, encode(problem), {"retry-after": str(_RETRY_AFTER_S)})
