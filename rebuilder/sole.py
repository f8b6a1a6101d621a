"""One rebuild at a time: the second one is told so, and one that lost its right is stopped."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from backbone.database.engine import Database
from backbone.database.ownership import ownership, while_owner
from rebuilder.refusal import Refusal

T = TypeVar("T")


class AlreadyRunning(Refusal):
    """Another process is at the same work; the text is one line that says so."""


async def as_the_only_one(database: Database, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do `work` as the owner of `name`. Raises AlreadyRunning, or Unavailable when ownership is lost."""
    async with ownership(database, name) as connection:
        if connection is None:
            raise AlreadyRunning(f"another {name} is running: wait until it has ended")
        return await while_owner(database, connection, work())
