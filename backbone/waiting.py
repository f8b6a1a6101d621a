"""Waiting for the end of the process, with a bound."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def stopped_within(stop: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `stop`, at most `timeout_s` seconds; say whether it is set."""
    try:
        await asyncio.wait_for(stop.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


async def one_set_within(events: Iterable[asyncio.Event], timeout_s: float) -> None:
    """Wait until one of the events is set, at most `timeout_s` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


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
