"""Patience with a dependency that is down for a while: tried again with backoff, then given up."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from backbone.errors import Unavailable

PATIENCE_S = 60.0
_BACKOFF_MAX_S = 5.0

T = TypeVar("T")
log = structlog.get_logger()


async def patiently(call: Callable[[], Awaitable[T]], patience_s: float | None = None) -> T:
    """Return what `call` returns; raise its Unavailable once it was down for `patience_s` (PATIENCE_S)."""
    give_up_at = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
    backoff_s = 0.1
    while True:
        try:
            return await call()
        except Unavailable as error:
            if time.monotonic() + backoff_s > give_up_at:
                raise
            log.warning("rebuild_waits", reason=str(error))
        await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
        backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
