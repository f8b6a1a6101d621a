"""A process that kills itself (SIGKILL) at the n-th call that changes the disk, as it archives records.

Run as `python -m tests.support.dying FOLDER FIRST COUNT N`; it ends by itself where there is no such call.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backbone.archive.folder import FolderStorage
from backbone.archive.partition import PartitionArchive
from tests.support.archive import some_records

CALLS = ("open", "fsync", "link", "rename", "unlink", "mkdir")


def main(folder: str, first: int, count: int, dies_at: int) -> None:
    """Archive the records from an offset on, so many, and die."""
    records = [record for record in some_records(200, holes=False) if record.offset >= first][:count]
    partition = PartitionArchive(FolderStorage(Path(folder)), "p.messages.created", 0)
    calls = [0]

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            if calls[0] == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            calls[0] += 1
            return call(*arguments, **more)

        return called

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))
    partition.append(records, partition.refresh())


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
