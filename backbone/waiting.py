"""Waiting for the end of the process, with a bound."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def stopped_within(stop: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `stop`, at most `timeout_s` seconds; say whether it is set."""
    try:
        await asyncio.wait_for(stop.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


async def until_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event, grace_s: float) -> T | None:
    """Do `work`; once `stop` is set it has `grace_s` seconds to end by itself, then it is cancelled.

    Returns what the work returned, or None when it was cancelled.
    """
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=grace_s)
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait({working}, timeout=grace_s)
    return working.result() if working.done() and not working.cancelled() else None
