"""Who takes part in some work, and a word between them: advisory locks and NOTIFY on one connection.

Each participant holds a lock of its own, so those present are rows of `pg_locks`: nothing is written and
no clock is compared. One that dies is gone at once, one that froze after `idle_session_timeout`. The word
is a number, sent at once and coalesced; it can be lost with the connection, so nobody may rely on it.
PostgreSQL only: a database in a file has nobody else to hear.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import structlog
from asyncpg.exceptions import InterfaceError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.errors import DEPENDENCY, one_line, translated_errors
from backbone.database.ownership import HEARTBEAT_S, IDLE_SESSION_TIMEOUT_MS
from backbone.errors import Unavailable
from backbone.waiting import one_set_within, stopped_within, until_stopped

_LEAVE_WITHIN_S = 1.0
_BACKOFF_MAX_S = 5.0
# Says that somebody came or went.
_LOOK = -1

_MEMBERS = text(
    "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"
    " AND classid::bigint = :work"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
)

_LOCK = text("SELECT pg_try_advisory_lock(CAST(:work AS int), CAST(:me AS int))")
_NOTIFY = text("SELECT pg_notify(:channel, word) FROM unnest(CAST(:words AS text[])) AS word")

log = structlog.get_logger()


class Presence:
    """This process among those that share the work called `name`.

    `members` are the numbers of those present, in order, this one's `me` among them; empty while it is
    not present itself. `changed` is called when they change, `heard` with each word of another.
    """

    def __init__(
        self, database: Database, name: str, changed: Callable[[], None], heard: Callable[[int], object]
    ) -> None:
        self.members: Sequence[int] = ()
        self.me = 0
        self._database = database
        self._channel = f"maeari_{name}"
        self._work = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) >> 1
        self._changed = changed
        self._heard = heard
        self._words: set[int] = set()
        self._look = True
        self._busy = asyncio.Event()

    def tell(self, words: Iterable[int]) -> None:
        """Say numbers to all others soon; never blocks, never fails."""
        self._words.update(words)
        if self._words:
            self._busy.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Be present until `stop` is set; a database that is down is waited for."""
        backoff_s = 0.1
        while not stop.is_set():
            try:
                await until_stopped(self._attend(stop), stop, _LEAVE_WITHIN_S)
                backoff_s = 0.1
            except Unavailable as error:
                log.info("presence_lost", name=self._channel, reason=error.detail)
                await stopped_within(stop, backoff_s)
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            finally:
                self._be_among(())

    async def _attend(self, stop: asyncio.Event) -> None:
        """Look now and then who is there, and say what there is to say, until `stop` is set."""
        now_s = asyncio.get_running_loop().time
        async with self._session() as connection:
            look_at_s = now_s()
            while not stop.is_set():
                self._busy.clear()
                if self._look or now_s() >= look_at_s:
                    self._look = False
                    self._be_among((await connection.execute(_MEMBERS, {"work": self._work})).scalars().all())
                    look_at_s = now_s() + HEARTBEAT_S
                await self._say(connection)
                await one_set_within((self._busy, stop), look_at_s - now_s())

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncConnection]:
        with translated_errors():
            async with self._database.engine.connect() as connection:
                try:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                    await self._come(connection)
                    yield connection
                    await self._go(connection)
                except InterfaceError as error:
                    raise Unavailable(DEPENDENCY, one_line(error)) from error
                finally:
                    # A session that holds a lock and listens must not go back to the pool.
                    await connection.invalidate()

    async def _come(self, connection: AsyncConnection) -> None:
        await connection.execute(text(f"SET idle_session_timeout = {IDLE_SESSION_TIMEOUT_MS}"))
        # A word need not survive a crash: its commit does not wait for the disk.
        await connection.execute(text("SET synchronous_commit = off"))
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None, "a connection that answers has a driver"
        await driver.add_listener(self._channel, self._hear)
        held = False
        while not held:
            self.me = secrets.randbits(31)
            held = bool(await connection.scalar(_LOCK, {"work": self._work, "me": self.me}))
        self._look = True
        self.tell([_LOOK])

    async def _go(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT pg_advisory_unlock_all()"))
        self.tell([_LOOK])
        await self._say(connection)

    async def _say(self, connection: AsyncConnection) -> None:
        """Say what has gathered, at once; what comes meanwhile goes with the next."""
        words, self._words = self._words, set()
        if words:
            said = [str(word) for word in sorted(words)]
            await connection.execute(_NOTIFY, {"channel": self._channel, "words": said})

    def _hear(self, _connection: object, _pid: int, _channel: str, word: str) -> None:
        number = int(word)
        if number == _LOOK:
            self._look = True
            self._busy.set()
        else:
            self._heard(number)

    def _be_among(self, members: Sequence[int]) -> None:
        if members != self.members:
            self.members = members
            self._changed()
