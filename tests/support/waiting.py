"""Waiting on a condition, bounded in time: what tests do in place of sleeping."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], Awaitable[T]], within_s: float = 10, every_s: float = 0.05) -> T:
    """Return the first true answer of `condition`. Raises TimeoutError after `within_s` seconds."""
    async with asyncio.timeout(within_s):
        while True:
            answer = await condition()
            if answer:
                return answer
            await asyncio.sleep(every_s)
