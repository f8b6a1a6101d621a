"""Sorting more than memory holds: runs in temporary files, merged as they are read.

Guarantees: in memory is one run, and while they are merged a buffer for each; what is equal stays in the
order in which it came. The files have no name, and are gone with the process.
"""

import struct
from collections.abc import Iterator
from heapq import merge
from tempfile import TemporaryFile, gettempdir
from typing import IO

from backbone.errors import NoRoom

RUN_BYTES = 32 * 1024 * 1024
_HEAD = struct.Struct("<QQI")

Item = tuple[tuple[int, int], bytes]


class Sorter:
    """Takes bytes under pairs of numbers in any order, and gives them in that of the pairs."""

    def __init__(self, run_bytes: int | None = None) -> None:
        """`run_bytes` is about how much is in memory, RUN_BYTES unless said otherwise."""
        self._run_bytes = RUN_BYTES if run_bytes is None else run_bytes
        self._held: list[Item] = []
        self._held_bytes = 0
        self._runs: list[IO[bytes]] = []

    def add(self, key: tuple[int, int], data: bytes) -> None:
        """Take an item in. Raises NoRoom."""
        self._held.append((key, data))
        self._held_bytes += len(data) + _HEAD.size
        if self._held_bytes >= self._run_bytes:
            self._spill()

    def items(self) -> Iterator[Item]:
        """Yield all in order."""
        self._held.sort(key=_key)
        return merge(*map(_read, self._runs), self._held, key=_key)

    def close(self) -> None:
        """Remove the files."""
        for run in self._runs:
            run.close()

    def _spill(self) -> None:
        self._held.sort(key=_key)
        try:
            run = TemporaryFile()  # noqa: SIM115 - it is open until all are merged
            self._runs.append(run)
            for key, data in self._held:
                run.write(_HEAD.pack(*key, len(data)))
                run.write(data)
            run.flush()
        except OSError as error:
            raise NoRoom(f"temporary files in {gettempdir()} (TMPDIR): {error.strerror or error}") from error
        self._held.clear()
        self._held_bytes = 0


def _key(item: Item) -> tuple[int, int]:
    return item[0]


def _read(run: IO[bytes]) -> Iterator[Item]:
    run.seek(0)
    while head := run.read(_HEAD.size):
        message, version, size = _HEAD.unpack(head)
        yield (message, version), run.read(size)
