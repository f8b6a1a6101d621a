"""The sender that prints: one line a notification, on standard output."""

import asyncio
import os
import select
import sys
import time
from typing import TextIO

from backbone.printable import printable
from notifier.senders import NotTaken, Push

# Whoever reads a pipe slowly holds up neither the process nor its end: a line is tried so long.
TAKEN_WITHIN_S = 5.0
# A pipe that has room for anything has room for so much.
_AT_ONCE = select.PIPE_BUF


class ConsoleSender:
    """Prints, in the order in which it is asked to."""

    name = "console"

    def __init__(self, stream: TextIO | None = None) -> None:
        """Standard output stands for a stream that is not given."""
        self._stream = sys.stdout if stream is None else stream
        self._turn = asyncio.Lock()
        # What is left of a line that found no room: lines are never cut by others.
        self._rest = b""

    async def send(self, push: Push) -> None:
        """See Sender."""
        async with self._turn:
            await asyncio.to_thread(self._write, f"{line_of(push)}\n".encode())

    async def close(self) -> None:
        """See Sender."""

    def _write(self, line: bytes) -> None:
        waiting = self._rest + line
        try:
            descriptor = self._stream.fileno()
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            until_s = time.monotonic() + TAKEN_WITHIN_S
            while waiting:
                if not room.poll(max(0.0, until_s - time.monotonic()) * 1000):
                    raise TimeoutError(f"nobody has read it for {TAKEN_WITHIN_S:g} s")
                waiting = waiting[os.write(descriptor, waiting[:_AT_ONCE]) :]
        except (OSError, ValueError) as error:
            raise NotTaken(f"standard output takes nothing: {error}") from error
        finally:
            # A line that was begun is ended before another; one that was not comes again by itself.
            self._rest = waiting[: -len(line)] if len(waiting) >= len(line) else waiting


def line_of(push: Push) -> str:
    """Return the line: whose it is, its number, its title and text, or what was taken back."""
    data = push.body.data
    if push.body.type == "notification.retracted":
        return f"{printable(data.user_id)} {data.seq} retracted {data.notification_id}"
    return f"{printable(data.user_id)} {data.seq} {printable(data.title or '')} {printable(data.body or '')}"
