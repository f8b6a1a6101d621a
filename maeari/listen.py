"""`maeari listen`: prints a user's notifications as they arrive; reconnects, and goes on behind the last one.

Guarantees: each notification is printed once, in order, whatever happens to the connection; where the
notifier refuses the client for good, one line says so and the exit code is 2.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from backbone.errors import SetupError
from backbone.eventlog.patience import pause_s
from backbone.printable import printable
from backbone.settings import Settings
from schemas.frames import (
    CLOSE_BAD_FRAME,
    CLOSE_FORBIDDEN_ORIGIN,
    CLOSE_NOT_AUTHENTICATED,
    SUBPROTOCOL,
    Hello,
    NotificationFrame,
    Retracted,
    decode_server_frame,
)

REFUSED = (CLOSE_BAD_FRAME, CLOSE_NOT_AUTHENTICATED, CLOSE_FORBIDDEN_ORIGIN)
FRAME_MAX_BYTES = 4 * 1024 * 1024

_OF_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
# What a proxy answers that has too much to do.
_TRY_AGAIN = (408, 425, 429)

Entry = NotificationFrame | Retracted


@dataclass
class Position:
    """Up to where all was printed: None before the first connection of a client that wants what is new."""

    seq: int | None
    epoch: int | None = None


def default_url(settings: Settings) -> str:
    """Return where the notifier of these settings listens."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"ws://{host}:{settings.websocket_port}/ws"


async def listen(url: str, user_id: str, after: int | None, token: str | None) -> None:
    """Print until interrupted. Raises SetupError where the client is refused for good."""
    position = Position(after)
    failures = 0
    while True:
        try:
            async for entry in _entries(url, user_id, position, token):
                failures = 0
                if entry is None:
                    _say(f"connected, listening from {position.seq} on")
                else:
                    _print(entry)
        except BrokenPipeError:
            # Whoever read has enough; what is left in the buffer is not to be tried again at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        except InvalidURI:
            raise SetupError(f"--url: {url!r} is not ws(s)://HOST:PORT/ws") from None
        except ConnectionClosed as closed:
            reason = _judged(closed)
        except InvalidStatus as error:
            if error.response.status_code < 500 and error.response.status_code not in _TRY_AGAIN:
                raise SetupError(f"--url: {url} answered {error.response.status_code}") from None
            reason = f"it answered {error.response.status_code}"
        except (_NotReached, InvalidHandshake, msgspec.DecodeError) as error:
            reason = str(error) or type(error).__name__
        failures += 1
        wait_s = pause_s(failures)
        _say(f"not connected ({reason}): trying again in {wait_s:.1f} s")
        await asyncio.sleep(wait_s)


class _NotReached(Exception):
    """There is no connection: not the same as output that nobody reads."""


async def _entries(
    url: str, user_id: str, position: Position, token: str | None
) -> AsyncIterator[Entry | None]:
    """Connect once, and yield what follows the position, which moves on; first None, once connected."""
    query = f"?user_id={quote(user_id, safe='')}" + ("" if position.seq is None else f"&after={position.seq}")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        socket = await connect(
            url + query,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=headers,
            max_size=FRAME_MAX_BYTES,
            # No proxy knows this machine's own addresses.
            proxy=None if _is_of_this_machine(url) else True,
        )
    except (OSError, TimeoutError) as error:
        raise _NotReached(str(error) or "no answer in time") from error
    async with socket:
        while True:
            frame = decode_server_frame(await socket.recv())
            match frame:
                case Hello():
                    if not _take_up(frame, position):
                        return
                    yield None
                case NotificationFrame() | Retracted():
                    yield frame
                    position.seq = frame.seq
                case _:
                    pass


def _take_up(hello: Hello, position: Position) -> bool:
    """Say if the connection goes on from the position: not where the inbox was made anew meanwhile."""
    anew = position.epoch is not None and position.epoch != hello.epoch
    position.epoch = hello.epoch
    if anew:
        position.seq = 0
        return False
    if position.seq is None:
        position.seq = hello.latest_seq
    return True


def _is_of_this_machine(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _OF_THIS_MACHINE
    except ValueError:
        return False


def _judged(closed: ConnectionClosed) -> str:
    """Return why the connection ended. Raises SetupError where it would end so again."""
    if closed.rcvd is not None and closed.rcvd.code in REFUSED:
        raise SetupError(f"refused ({closed.rcvd.code}): {printable(closed.rcvd.reason)}")
    return "closed" if closed.rcvd is None else f"closed with {closed.rcvd.code}"


def _print(entry: Entry) -> None:
    """Print a line: the number, title and text; what was taken back is named by its id."""
    if isinstance(entry, Retracted):
        line = f"{entry.seq} retracted {entry.notification_id}"
    elif entry.notification.retracted is True:
        return  # its text is gone; that it was taken back has a line of its own
    else:
        told = entry.notification
        line = f"{entry.seq} {printable(told.title or '')} {printable(told.body or '')}"
        line += " (muted)" if told.muted else ""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(line: str) -> None:
    sys.stderr.write(f"maeari: {line}\n")
    sys.stderr.flush()
