"""Whether a member of a consumer group lives, told by a small locked file of its own.

The lock goes when the process ends, however it ends; the moment written in the file goes stale when
the process is frozen. So a killed member is known at once and a frozen one after the session time-out.
Neither costs a write to the database.
"""

import fcntl
import os
import struct
import time
from pathlib import Path

_MOMENT = struct.Struct("<q")


class LifeSign:
    """The locked file of one member; `beat` says that it still runs."""

    def __init__(self, folder: Path, member_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / member_id
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._descriptor: int | None = descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.beat()
        except OSError:
            self.close()
            raise

    def beat(self) -> None:
        """Write the present moment: of the clock that all processes of the machine share and nobody sets."""
        if self._descriptor is not None:
            os.pwrite(self._descriptor, _MOMENT.pack(time.monotonic_ns()), 0)

    def close(self) -> None:
        """Take the file away: from now on the member is dead to everybody."""
        # Once closed, the number may be another file's: it is used no more, whatever fails here.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            self._path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def is_alive(folder: Path, member_id: str, session_timeout_s: float) -> bool:
    """Say whether the member's process holds its lock and wrote a moment not long ago."""
    try:
        descriptor = os.open(folder / member_id, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        content = os.pread(descriptor, _MOMENT.size, 0)
        if len(content) < _MOMENT.size:
            return True
        (beat_ns,) = _MOMENT.unpack(content)
        age_s = (time.monotonic_ns() - int(beat_ns)) / 1e9
        return -session_timeout_s <= age_s <= session_timeout_s
    else:
        return False
    finally:
        os.close(descriptor)


def forget(folder: Path, member_id: str) -> None:
    """Take away the file of a dead member."""
    (folder / member_id).unlink(missing_ok=True)
