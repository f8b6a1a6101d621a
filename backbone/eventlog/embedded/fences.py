"""Fences: of the producers that took the same one only the last may append; inside one transaction."""

import sqlite3
from typing import NamedTuple

from backbone.eventlog import Fenced


class Fence(NamedTuple):
    """A fence as one producer took it; each taking raises the epoch."""

    name: str
    epoch: int


def take(connection: sqlite3.Connection, name: str) -> Fence:
    """Take the fence from whoever has it."""
    ((epoch,),) = connection.execute(
        "INSERT INTO fences VALUES (?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
        (name,),
    )
    return Fence(name, epoch)


def require(connection: sqlite3.Connection, fence: Fence) -> None:
    """Raise Fenced when another producer has taken the fence since."""
    (epoch,) = connection.execute("SELECT epoch FROM fences WHERE name = ?", (fence.name,)).fetchone()
    if epoch != fence.epoch:
        raise Fenced
