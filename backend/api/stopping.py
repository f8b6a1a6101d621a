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

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = False

        async def tracked(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(within_s) as timeout:
                await app(scope, receive, tracked)
        except asyncio.CancelledError:
            if started:
                raise
            await _give_up(send, "stopping", "the server is stopping")
        except TimeoutError:
            if started or not timeout.expired():
                raise
            log.warning("request_timed_out", method=scope["method"], path=scope["path"])
            await _give_up(send, "timed-out", f"there was no answer within {within_s:g} s")

    return wrapped


async def _give_up(send: Send, slug: str, why: str) -> None:
    problem = Problem(
        type=f"/problems/{slug}",
        title="Service Unavailable",
        status=503,
        detail=f"{why}; ask again, with the same Idempotency-Key",
    )
    await answer_with(send, 503, MEDIA_TYPE, encode(problem), {"retry-after": str(_RETRY_AFTER_S)})
