"""Waiting for the end of the process, with a bound."""

import asyncio


async def stopped_within(stop: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `stop`, at most `timeout_s` seconds; say whether it is set."""
    try:
        await asyncio.wait_for(stop.wait(), timeout_s)
    except TimeoutError:
        return False
    return True
