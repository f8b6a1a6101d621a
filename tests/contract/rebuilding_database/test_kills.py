"""A rebuild of the database that is killed at each of its phases: nothing is half done, and it goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

import pytest

from backbone.settings import Settings
from rebuilder.database.ways import Ways
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend
from tests.support.write_side import Users, lose, tables_of

_REBUILDS = """
import asyncio, os, signal, sys
from backbone.progress import Silent
from backbone.settings import read_settings
from backbone.wiring import open_ports
from rebuilder.database import folding, loading, rebuild, swapping
from rebuilder.database.side import open_side
from rebuilder.database.sources import EventsSource

def dying(module, name, before, calls=1):
    real, left = getattr(module, name), [calls]
    async def call(*arguments, **named):
        left[0] -= 1
        if before and not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await real(*arguments, **named)
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, name, call)

loading.CHUNK_RECORDS = 10
{
    "load": lambda: dying(loading, "store", False, 3),
    "shape": lambda: dying(rebuild, "restore", False),
    "fold": lambda: dying(folding, "_number_channels", True),
    "join": lambda: dying(rebuild, "restore", True, 2),
    "held": lambda: dying(swapping, "attach", False),
    "exchanged": lambda: dying(swapping, "exchange", False),
    "swapped": lambda: dying(rebuild, "drop_side", True),
}[sys.argv[1]]()

async def main():
    async with open_ports(read_settings(dict(os.environ), dotenv=None)) as ports:
        async with open_side(ports.database, "maeari_rebuild") as side:
            ways = rebuild.Ways()
            await rebuild.Rebuild(ports.database, side, EventsSource(ports.eventlog), ways, Silent()).run()

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


@pytest.mark.parametrize("moment", ["load", "shape", "fold", "join", "held", "exchanged", "swapped"])
async def test_killed_at_a_phase_it_leaves_nothing_half_done(
    backend: Backend, users: Users, settings: Settings, moment: str
) -> None:
    """Given an empty live database: killed, it is empty or whole; resumed, it is whole, no event twice."""
    database = backend.ports.database
    before = await tables_of(database)
    await lose(database)
    nothing = await tables_of(database)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _REBUILDS, moment, env=variables(settings)
    )
    assert await child.wait() == -signal.SIGKILL
    assert await tables_of(database) == (before if moment == "swapped" else nothing)
    report = await rebuild(backend, Ways(resume=True))
    assert (report.outcome, report.reason) == ("swapped", None)
    assert await tables_of(database) == before
    posted = await backend.post("ops", "bora", "goes on")
    assert posted["sequence"] > 1
