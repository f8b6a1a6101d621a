"""The sender that prints: one line a notification, on standard output."""

import asyncio
import sys
from typing import TextIO

from backbone.printable import printable
from notifier.senders import NotTaken, Push


class ConsoleSender:
    """Prints, in the order in which it is asked to."""

    name = "console"

    def __init__(self, stream: TextIO | None = None) -> None:
        """Standard output stands for a stream that is not given."""
        self._stream = sys.stdout if stream is None else stream

    async def send(self, push: Push) -> None:
        """See Sender."""
        # Whoever reads a pipe slowly must not hold up the process.
        await asyncio.to_thread(self._write, line_of(push))

    async def close(self) -> None:
        """See Sender."""

    def _write(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise NotTaken(f"standard output takes nothing: {error}") from error


def line_of(push: Push) -> str:
    """Return the line: whose it is, its number, its title and text, or what was taken back."""
    data = push.body.data
    if push.body.type == "notification.retracted":
        return f"{printable(data.user_id)} {data.seq} retracted {data.notification_id}"
    return f"{printable(data.user_id)} {data.seq} {printable(data.title or '')} {printable(data.body or '')}"
