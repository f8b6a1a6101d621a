"""`maeari export`: wiring only. Settings and a channel in, lines of JSON out, an exit code back."""

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from backbone.clock import SystemClock
from backbone.database.migrations import check_migrated
from backbone.errors import SetupError, Unavailable
from backbone.progress import Progress, shown_progress
from backbone.settings import Settings
from backbone.wiring import Ports, open_ports
from rebuilder.export.from_database import messages_of_database
from rebuilder.export.from_events import messages_of_events
from rebuilder.export.output import Unread, output_to
from rebuilder.opening import open_log
from rebuilder.record import last_numbers_told
from rebuilder.refusal import Refusal
from rebuilder.untold import all_told
from schemas.events import encode
from schemas.messages import FormerMessage

DONE, FAILED = 0, 1


async def run(
    settings: Settings, channel_id: str, source: str, as_of_ms: int | None, output: Path | None
) -> int:
    """Write the channel's messages; return the exit code. Raises SetupError, NoRoom or Unavailable."""
    async with open_ports(settings) as ports:
        try:
            with shown_progress() as progress, output_to(output) as file:
                messages = await _messages(settings, ports, channel_id, source, as_of_ms, progress)
                async with aclosing(messages):
                    async for message in messages:
                        file.write(encode(message) + b"\n")
        except Unread:
            return DONE
        except Refusal as error:
            sys.stderr.write(f"maeari: {error}\n")
            return FAILED
    return DONE


async def _messages(
    settings: Settings, ports: Ports, channel_id: str, source: str, as_of_ms: int | None, progress: Progress
) -> AsyncGenerator[FormerMessage, None]:
    if source == "database":
        await check_migrated(ports.database)
        return messages_of_database(ports.database, channel_id, as_of_ms, progress)
    if source not in ("events", "archive"):
        raise SetupError(f"--from {source!r} is not one of database, events, archive")
    last_told = 0
    try:
        await all_told(ports.database, SystemClock().now_ms() if as_of_ms is None else as_of_ms)
        last_told = (await last_numbers_told(ports.database, channel_id)).get(channel_id, 0)
    except Unavailable as error:
        # It may be lost: what the log holds is what there is.
        sys.stderr.write(f"maeari: the outbox cannot be asked ({error}): what the log lacks is not there\n")
    log = await open_log(settings, ports, source)
    return messages_of_events(log, channel_id, last_told, as_of_ms, progress)
