"""An archive in a folder: files are synced before they have a name, and folders after that.

A name is given by `link` where nobody may have it yet, which no other process can come between.
"""

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from backbone.archive import DEPENDENCY, NotStored
from backbone.archive.layout import MANIFEST
from backbone.errors import SetupError, Unavailable

_NEW = ".new"
# No name takes nearly as long to be given.
_LEFT_AFTER_S = 3600


class FolderStorage:
    """See Storage."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @property
    def url(self) -> str:
        """See Storage."""
        return f"file://{self._folder}"

    def prepare(self) -> None:
        """See Storage; makes the folder."""
        probe = f"_probe-{uuid.uuid4().hex}"
        try:
            self._clear_away()
            try:
                fits = self.create(probe, b"") and not self.create(probe, b"")
            finally:
                self.remove(probe)
        except Unavailable as error:
            raise SetupError(f"MAEARI_ARCHIVE_URL: cannot write there: {error.detail}") from error
        if not fits:
            raise SetupError(f"MAEARI_ARCHIVE_URL: {self._folder} lets two files have one name")

    def list(self, folder: str) -> Sequence[str]:
        """See Storage."""
        with _answering():
            found = []
            for place, _, names in os.walk(self._folder / folder, onerror=_not_missing):
                above = Path(place).relative_to(self._folder)
                found += [(above / name).as_posix() for name in names if not name.endswith(_NEW)]
            return sorted(found)

    def read(self, path: str) -> bytes:
        """See Storage."""
        with _answering(path):
            return (self._folder / path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        """See Storage."""
        target = self._folder / path
        with _answering():
            self._make(target.parent)
            try:
                _write(target, data)
            except OSError:
                with suppress(OSError):
                    target.unlink()
                raise
            _sync(target.parent)

    def create(self, path: str, data: bytes) -> bool:
        """See Storage."""
        target = self._folder / path
        new = target.with_name(f"{target.name}.{uuid.uuid4().hex}{_NEW}")
        with _answering():
            self._make(target.parent)
            try:
                _write(new, data)
                os.link(new, target)
            except FileExistsError:
                return False
            finally:
                with suppress(OSError):
                    new.unlink()
            _sync(target.parent)
            return True

    def move(self, source: str, target: str) -> None:
        """See Storage."""
        there = self._folder / target
        with _answering(target):
            self._make(there.parent)
            try:
                (self._folder / source).rename(there)
            except FileNotFoundError:
                there.stat()
            _sync(there.parent)

    def remove(self, path: str) -> None:
        """See Storage."""
        with _answering():
            (self._folder / path).unlink(missing_ok=True)

    def _clear_away(self) -> None:
        """Remove what processes left that died before their files had a name."""
        with _answering():
            for place, _, names in os.walk(self._folder / MANIFEST, onerror=_not_missing):
                for name in names:
                    path = Path(place, name)
                    if name.endswith(_NEW) and path.stat().st_mtime < time.time() - _LEFT_AFTER_S:
                        path.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """Make a folder with those above it, each durable before what goes into it."""
        if folder.is_dir():
            return
        if folder.parent != folder:
            self._make(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        _sync(folder.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def _answering(path: str | None = None) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if path is not None:
            raise NotStored(path) from error
        raise Unavailable(DEPENDENCY, str(error)) from error
    except OSError as error:
        raise Unavailable(DEPENDENCY, str(error)) from error
