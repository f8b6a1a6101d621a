"""The archive port: files of records in a folder or a bucket, and a manifest that says what each file holds.

Guarantees of every storage: what `put`, `create` and `move` returned from is durable, and a reader sees a
file whole or not at all; of several that `create` one name, in whatever process, one succeeds.
All calls block: they are made in threads.
"""

from collections.abc import Sequence
from typing import Protocol

DEPENDENCY = "archive"
"""The name of the archive in Unavailable, in health and in probes."""


class NotStored(Exception):
    """The storage has no file of this name."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not there")
        self.path = path


class Damaged(Exception):
    """A file of the archive is not what the manifest says; the text is one line that names it."""


class Missing(Exception):
    """Offsets that are asked for are not in the archive: from `first` to `last`, both among them."""

    def __init__(self, topic: str, partition: int, first: int, last: int, why: str) -> None:
        super().__init__(f"{topic}/{partition}: offsets {first} to {last} are not in the archive: {why}")
        self.first = first
        self.last = last


class Storage(Protocol):
    """Where the archive's files are; paths are relative to it, with `/` between their parts.

    Every call raises Unavailable where the storage does not answer, or has no room.
    """

    @property
    def url(self) -> str:
        """Where it is, as people may see it."""

    def prepare(self) -> None:
        """Make sure that `create` keeps its promise. Raises SetupError where it cannot."""

    def list(self, folder: str) -> Sequence[str]:
        """Return the paths of all files below a folder, in order; none where it does not exist."""

    def read(self, path: str) -> bytes:
        """Return what a file holds. Raises NotStored."""

    def put(self, path: str, data: bytes) -> None:
        """Store a file under a name that nobody else uses."""

    def create(self, path: str, data: bytes) -> bool:
        """Store a file where there is none of its name; say if that was so."""

    def move(self, source: str, target: str) -> None:
        """Give a file its name; one that has it already stays as it is. Raises NotStored without either."""

    def remove(self, path: str) -> None:
        """Remove a file, where it is there."""
