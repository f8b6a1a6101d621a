"""Work that a process does beside all else, again and again: an error of it is told, and ends nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import NoReturn

import structlog

TOLD_AGAIN_AFTER_S = 60.0

log = structlog.get_logger()


async def keep_doing(name: str, work: Callable[[], Awaitable[object]], every_s: float) -> NoReturn:
    """Do `work` until cancelled, with `every_s` seconds between; log its errors, at most one a minute."""
    now_s = asyncio.get_running_loop().time
    told_s = -inf
    while True:
        try:
            await work()
        except Exception as error:
            if now_s() - told_s >= TOLD_AGAIN_AFTER_S:
                told_s = now_s()
                log.warning("background_work_failed", work=name, exc_info=error)
        await asyncio.sleep(every_s)
