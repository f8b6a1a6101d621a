"""Where an export goes: to stdout, or into a file that is there whole or not at all.

Guarantees: an export that fails or is interrupted leaves a file of that name as it was. Only its owner may
read it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from rebuilder.refusal import Refusal


class NotWritten(Refusal):
    """The file cannot be written; the text is one line that says why."""


class Unread(Exception):
    """Nobody reads any more what is written to stdout."""


class Output:
    """What is written to; errors say where that is."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name

    def write(self, data: bytes) -> None:
        """Write. Raises NotWritten, or Unread when the pipe is closed."""
        try:
            self._file.write(data)
        except OSError as error:
            raise _told(error, self._name) from error


@contextmanager
def output_to(path: Path | None) -> Iterator[Output]:
    """Yield what to write to. Raises NotWritten, or Unread when the pipe is closed."""
    if path is not None:
        yield from _to_file(path)
        return
    try:
        yield Output(sys.stdout.buffer, "stdout")
        try:
            sys.stdout.buffer.flush()
        except OSError as error:
            raise _told(error, "stdout") from error
    except Unread:
        # Python flushes once more as it ends, and would say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _to_file(path: Path) -> Iterator[Output]:
    name = f"--output {path}"
    try:
        file, replaces = _opened(path)
    except OSError as error:
        raise _told(error, name) from error
    try:
        yield Output(file, name)
        try:
            _finish(file, path.resolve() if replaces else None)
        except OSError as error:
            raise _told(error, name) from error
    except BaseException:
        if replaces:
            with suppress(OSError):
                os.unlink(file.name)
        raise
    finally:
        # What could not be flushed is tried once more, in vain.
        with suppress(OSError):
            file.close()


def _opened(path: Path) -> tuple[IO[bytes], bool]:
    """Return a file to write to, and whether it is to take the place of the one that is asked for."""
    if path.exists() and not path.is_file():
        # A device or a pipe: there is nothing to put in its place.
        return path.open("wb"), False
    # A link stays one: what it points to is replaced.
    path = path.resolve()
    return NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False), True


def _finish(file: IO[bytes], path: Path | None) -> None:
    file.flush()
    if path is None:
        return
    os.fsync(file.fileno())
    os.replace(file.name, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _told(error: OSError, name: str) -> Exception:
    if isinstance(error, BrokenPipeError):
        return Unread()
    return NotWritten(f"{name}: {error.strerror or error}")
