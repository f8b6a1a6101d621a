"""`maeari notifications replay`: sends a user's notifications once more, with the ids of the first time."""

import asyncio
import sys

from backbone.clock import SystemClock
from backbone.errors import Unavailable
from backbone.eventlog.patience import pause_s
from backbone.mailbox import Mailbox
from backbone.progress import Progress, shown_progress
from backbone.settings import Settings
from backbone.wiring import open_ports
from notifier.senders import NotTaken, Push, Sender
from notifier.senders.chosen import open_sender
from notifier.senders.replaying import pushes_of

ATTEMPTS = 6
LONGEST_WAIT_S = 60.0


async def replay(settings: Settings, sender_name: str, user_id: str, after: int) -> None:
    """Send what came after the number `after`, in order. Raises Unavailable where the receiver takes no more.

    It says then from where to go on.
    """
    clock = SystemClock()
    async with open_ports(settings) as ports:
        pushes = await pushes_of(ports.eventlog, Mailbox(ports.database, clock), user_id, after)
    if not pushes:
        sys.stdout.write(f"nothing to send: the log holds no such notification after {after}\n")
        return
    sender = open_sender(sender_name, settings, clock)
    try:
        with shown_progress() as progress:
            progress.step("sending", len(pushes))
            await _send_all(sender, pushes, after, progress)
    finally:
        await sender.close()
    if sender_name != "console":
        sys.stdout.write(f"sent {len(pushes)}: seq {pushes[0].seq} to {pushes[-1].seq}\n")


async def _send_all(sender: Sender, pushes: list[Push], after: int, progress: Progress) -> None:
    last = after
    for push in pushes:
        try:
            await _send(sender, push)
        except NotTaken as error:
            detail = f"seq {push.seq} was not taken: {error}; go on later with --after {last}"
            raise Unavailable(sender.name, detail) from error
        last = push.seq
        progress.advance(1)


async def _send(sender: Sender, push: Push) -> None:
    """Send one, and again after growing pauses. Raises NotTaken after the last attempt."""
    for failures in range(1, ATTEMPTS + 1):
        try:
            await sender.send(push)
        except NotTaken as error:
            wait_s = error.wait_s or 0.0
            if failures == ATTEMPTS or wait_s > LONGEST_WAIT_S:
                raise
        else:
            return
        await asyncio.sleep(max(wait_s, pause_s(failures)))
