"""What a client is told whose request is cut off because the server stops: to ask again."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from backbone.probes import Receive, Scope, Send, answer_with
from backend.api.problems import MEDIA_TYPE, Problem
from schemas.codec import encode

App = Callable[[Any, Any, Any], Awaitable[None]]


def answering_when_stopped(app: App) -> App:
    """Answer 503 where a cancelled request has had no answer yet; a write may be stored all the same."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def tracked(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, tracked)
        except asyncio.CancelledError:
            if scope["type"] != "http" or started:
                raise
            problem = Problem(
                type="/problems/stopping",
                title="Service Unavailable",
                status=503,
                detail="the server is stopping; ask again, with the same Idempotency-Key",
            )
            await answer_with(send, 503, MEDIA_TYPE, encode(problem), {"retry-after": "2"})

    return wrapped
