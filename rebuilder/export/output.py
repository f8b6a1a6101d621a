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


class NotWritten(Exception):
    """The file cannot be written; the text is one line that says why."""


class Unread(Exception):
    """Nobody reads any more what is written to stdout."""


@contextmanager
def output_to(path: Path | None) -> Iterator[IO[bytes]]:
    """Yield what to write to. Raises NotWritten, or Unread when the pipe is closed."""
    if path is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Python flushes once more as it ends, and would say so.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Unread from None
        except OSError as error:
            raise NotWritten(f"stdout: {error.strerror or error}") from error
        return
    try:
        with _file(path) as file:
            yield file
    except OSError as error:
        raise NotWritten(f"--output {path}: {error.strerror or error}") from error


@contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
    if path.exists() and not path.is_file():
        # A device or a pipe: there is nothing to put in its place.
        with path.open("wb") as device:
            yield device
        return
    # A link stays one: what it points to is replaced.
    path = path.resolve()
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
