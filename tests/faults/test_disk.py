"""A disk that is full under the event log, in one process on files: its files may not grow any further.

A limit on the size of the process's files stands for the disk. What lies in the log already is made to
reach beyond it, while the database stays far below.
"""

import resource
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic

import httpx
from sqlalchemy import func, select

from backbone.database.tables import outbox
from backbone.settings import read_settings
from backbone.wiring import Ports as Stores
from backbone.wiring import open_ports
from schemas.topics import USERS_ACTIVITY
from tests.faults import oracle
from tests.faults.arena import SETTLED_WITHIN_S, Book, apart, line_of
from tests.faults.ledger import Ledger
from tests.faults.load import loading
from tests.faults.platform import Member
from tests.support.eventlog import append, record
from tests.support.waiting import until
from tests.system.processes import Surroundings

LIMIT_BYTES = 8 * 1024 * 1024
_FILLER = [record(USERS_ACTIVITY, "filler", "x" * 500_000)]


async def test_the_event_logs_disk_is_full(tmp_path: Path, book: Book) -> None:
    """Writes go on into the outbox, `ready` says why they stay there; with room again all is delivered."""
    surroundings = Surroundings(tmp_path, {"LOG_FORMAT": "json"})
    member, ledger = Member("dev", "dev", surroundings, lambda _: None), Ledger()
    member.start()
    try:
        await apart(member.wait_ready)
        async with open_ports(read_settings(surroundings.environment(), dotenv=None)) as stores:
            async with loading("disk", [member.url], ledger) as load:
                await load.more_acknowledged(20)
                async with full_disk(stores, surroundings, member):
                    await until(lambda: says_so(member), within_s=15)
                    before = await untold(stores)
                    await load.more_acknowledged(40)
                    assert await untold(stores) > before
                    waited = await untold(stores)
                began_s = monotonic()
                await load.more_acknowledged(20)
            await oracle.settled(stores, SETTLED_WITHIN_S)
            caught_up_s = monotonic() - began_s
            told = await oracle.check(stores, ledger.entries)
        assert await apart(member.end) == 0
    except BaseException:
        print(member.log_tail(40))
        raise
    finally:
        if member.alive:
            member.kill()
    figures = book.figures["the_event_logs_disk_is_full"] = {
        "waited_in_the_outbox": str(waited),
        "acknowledged": str(ledger.acknowledged),
        "unknown": str(ledger.unknown),
        "events": str(len(told.events) - told.duplicates),
        "duplicates": str(told.duplicates),
        "stall_s": f"{ledger.longest_stall_s:.1f}",
        "caught_up_s": f"{caught_up_s:.1f}",
    }
    print(line_of("the_event_logs_disk_is_full", figures))


@asynccontextmanager
async def full_disk(stores: Stores, surroundings: Surroundings, member: Member) -> AsyncIterator[None]:
    """Let the log's file reach beyond what the process may write, during the block."""
    log = surroundings.data / "eventlog.sqlite3"
    with closing(sqlite3.connect(log)) as reader:
        # What is written stays in the journal as long as somebody reads what was before it.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchall()
        journal = log.with_name(f"{log.name}-wal")
        while journal.stat().st_size <= LIMIT_BYTES:
            await append(stores.eventlog, _FILLER)
        assert max(size_of_files(surroundings.data, "database*")) < LIMIT_BYTES / 2
        member.limit(resource.RLIMIT_FSIZE, LIMIT_BYTES)
        yield
        member.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)


def size_of_files(folder: Path, pattern: str) -> list[int]:
    return [path.stat().st_size for path in folder.glob(pattern)]


async def says_so(member: Member) -> bool:
    """Say whether the probe names the log as what is wrong; the process is ready for writes all the same."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{member.url}/health/ready")
    assert answer.status_code == 200, answer.text
    dependencies = answer.json()["dependencies"]
    return any("log" in name or "relay" in name for name, state in dependencies.items() if state != "ok")


async def untold(stores: Stores) -> int:
    async with stores.database.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(outbox)) or 0)
