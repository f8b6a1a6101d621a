"""One rebuild at a time: the second one is told so, and one that lost its right is stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.ownership import HEARTBEAT_S, ownership

T = TypeVar("T")


class AlreadyRunning(Exception):
    """Another process is at the same work; the text is one line that says so."""


async def as_the_only_one(database: Database, name: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` as the owner of `name`. Raises AlreadyRunning, or Unavailable when ownership is lost."""
    async with ownership(database, name) as connection:
        if connection is None:
            raise AlreadyRunning(f"another {name} is running: wait until it has ended")
        working = asyncio.ensure_future(work())
        owning = asyncio.ensure_future(_stay_owner(database, connection))
        try:
            await asyncio.wait({working, owning}, return_when=asyncio.FIRST_COMPLETED)
            if owning.done():
                owning.result()
            return await working
        finally:
            working.cancel()
            owning.cancel()
            await asyncio.gather(working, owning, return_exceptions=True)


async def _stay_owner(database: Database, connection: AsyncConnection) -> None:
    """Use the connection often enough that the server does not take its owner for frozen."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        # A lock on a file needs no such thing, and a transaction there would hold up every writer.
        if not database.embedded:
            async with connection.begin():
                await connection.execute(text("SELECT 1"))
