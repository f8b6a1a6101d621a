"""A rebuild of notifications that is killed: each inbox is as it was or right, and it goes on from there."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

import pytest

from backbone.database.tables import inbox, memberships, notified_messages
from backbone.settings import Settings
from rebuilder.notifications.rebuild import Ways
from tests.contract.rebuilding_notifications.conftest import Office, lose, rebuild, rows_of
from tests.contract.rebuilding_notifications.test_notifications_rebuilt import epochs

# Runs a rebuild of notifications, and kills itself in the middle of what is named.
_REBUILDS = """
import asyncio, os, signal, sys
from backbone.clock import SystemClock
from backbone.progress import Silent
from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder.database.side import open_side
from rebuilder.notifications import comparing, memory, mending, reading, rebuild, rehearsal
from rebuilder.database.side import REHEARSAL

def dying(module, name, after, times=1):
    original = getattr(module, name)
    async def call(*arguments, **more):
        call.left -= 1
        if not call.left and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await original(*arguments, **more)
        if not call.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    call.left = times
    setattr(module, name, call)

reading._READ_AT_ONCE = 10
memory.PAGE_ROWS = 10
comparing.USERS_AT_ONCE = 3
{
    "rehearse": lambda: dying(rehearsal.Rehearsal, "apply", False, 5),
    "bring back": lambda: dying(memory, "_write", True, 3),
    "held": lambda: dying(rebuild, "lock_inboxes", True),
    "written": lambda: dying(rebuild, "put_right", True, 2),
    "proven": lambda: dying(rebuild, "drop_side", False),
}[sys.argv[1]]()

async def main():
    async with open_ports(read_settings(dict(os.environ), dotenv=None)) as ports:
        async with open_side(ports.database, REHEARSAL) as side:
            ways = rebuild.Ways()
            work = rebuild.Rebuild(ports.eventlog, ports.database, side, SystemClock(), ways, Silent())
            await work.run()

asyncio.run(main())
"""


def variables(settings: Settings) -> Mapping[str, str]:
    ours = {
        "MAEARI_DATA": str(settings.data),
        "MAEARI_DATABASE_URL": settings.database_url,
        "MAEARI_EVENTLOG_URL": settings.eventlog_url,
        "MAEARI_SEARCH_URL": settings.search_url,
        "MAEARI_TOPIC_PREFIX": settings.topic_prefix,
    }
    return {**{name: value for name, value in os.environ.items() if not name.startswith("MAEARI_")}, **ours}


@pytest.mark.parametrize("moment", ["rehearse", "bring back", "held", "written", "proven"])
async def test_killed_it_leaves_inboxes_whole_and_goes_on(
    office: Office, settings: Settings, moment: str
) -> None:
    """Given inboxes and memory that are lost: killed, each inbox is empty or right; then all are."""
    database = office.backend.ports.database
    before = await rows_of(database)
    await lose(database, inbox, notified_messages, memberships)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _REBUILDS, moment, env=variables(settings)
    )
    assert await child.wait() == -signal.SIGKILL
    half = (await rows_of(database))["inbox"]
    for user_id in {row[0] for row in before["inbox"]}:
        now = [row for row in half if row[0] == user_id]
        assert now in ([], [row for row in before["inbox"] if row[0] == user_id])
    assert bool(half) == (moment in ("written", "proven"))
    report = await rebuild(office, Ways(resume=True))
    assert (report.outcome, report.resumed) == ("put right", True)
    assert await rows_of(database) == before
    await epochs(database)
