"""The shards of one lane, shared among the processes that relay it.

Each process takes every n-th shard of those that are present (backbone/database/presence.py); whoever a
shard is for waits until its former owner has let go or lost it. A wake-up reaches the owner wherever it
is; one that is lost costs no more than the time to the owner's next look.
"""

import asyncio
import random
from collections.abc import Callable, Iterable

import structlog
from prometheus_client import Gauge

from backbone.database.engine import Database
from backbone.database.presence import Presence
from backbone.errors import Unavailable
from backbone.eventlog import DEPENDENCY as EVENTLOG
from backbone.eventlog import EventLog
from backbone.health import Health
from backbone.outbox import Lane, shards_of
from backbone.relay.joint import Joint
from backbone.relay.shard import OwnedShard, owned_shard
from backbone.relay.stopped import StoppedKeys
from backbone.waiting import one_set_within, stopped_within, until_stopped
from schemas.topics import partition_of

# The owner looks by itself so often: a wake-up may get lost, and nobody sends one between files.
POLL_S = 1.0
EMBEDDED_POLL_S = 0.1
# What comes within this time after a batch shares the next, whose cost, here and in the log's servers, is
# that of its round trips. A backlog has no pauses.
PACE_S = 0.04
_PACED_BELOW_ROWS = 100
# What is under way when the process stops has this long; what was not acknowledged is told again.
STOP_GRACE_S = 1.0
_TRY_TO_OWN_EVERY_S = 0.2
_UNWANTED_LOOK_S = 5.0
_FIRST_BACKOFF_S = 0.1
_BACKOFF_MAX_S = 5.0

log = structlog.get_logger()
shards_owned = Gauge("maeari_relay_shards", "Shards of the outbox that this process relays.", ["lane"])


class LaneRelay:
    """Relays the part of a lane that falls to this process."""

    def __init__(self, database: Database, eventlog: EventLog, lane: Lane, health: Health) -> None:
        self._database = database
        self._eventlog = eventlog
        self._lane = lane
        self._health = health
        self._stopped = StoppedKeys(lane, health)
        self._shards: list[_Shard] = []
        self._joint = Joint(eventlog, lane)
        self._presence: Presence | None = None
        if not database.embedded:
            self._presence = Presence(database, f"relay_{lane}", self._wake_all, self._wake_owned)

    @property
    def owned(self) -> set[int]:
        """The shards that this process owns now."""
        return {shard.number for shard in self._shards if shard.owned}

    def wake(self, shards: Iterable[int]) -> None:
        """Say that these shards have new rows, wherever their owners are; never blocks, never fails."""
        elsewhere = [number for number in shards if not self._wake_owned(number)]
        if self._presence is not None and elsewhere:
            self._presence.tell(elsewhere)

    def wake_keys(self, keys: Iterable[str]) -> None:
        """Say that these ordering keys have new rows, as `wake` does."""
        if self._shards:
            self.wake({partition_of(key, len(self._shards)) for key in keys})

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set; whatever is down is waited for."""
        left = asyncio.Event()
        await self._find_shards(stop)
        async with asyncio.TaskGroup() as tasks:
            if self._presence is not None:
                tasks.create_task(self._presence.run(left), name="presence")
            try:
                async with asyncio.TaskGroup() as owners:
                    for shard in self._shards:
                        owners.create_task(shard.run(stop), name=f"relay {self._lane} {shard.number}")
            finally:
                # The shards are free by now: those who stay hear of it at once.
                left.set()
                await self._joint.settle()

    async def _find_shards(self, stop: asyncio.Event) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._shards and not stop.is_set():
            try:
                number = await shards_of(self._database, self._lane)
            except Unavailable as error:
                self._health.heard(error)
                await stopped_within(stop, backoff_s)
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)
            else:
                self._shards = [self._shard(n) for n in range(number)]

    def _shard(self, number: int) -> "_Shard":
        return _Shard(
            self._database,
            self._eventlog,
            self._lane,
            number,
            self._health,
            self._stopped,
            self._joint,
            self._mine,
            self._owned_changed,
        )

    def _owned_changed(self) -> None:
        """Send jointly while all shards are owned, if there are several."""
        if len(self._shards) > 1 and len(self.owned) == len(self._shards):
            self._joint.begin()
        else:
            self._joint.end()

    def _mine(self, shard: int) -> bool:
        """Say whether the shard falls to this process: of those present, each takes every n-th."""
        if self._presence is None:
            return True
        members = self._presence.members
        return bool(members) and members[shard % len(members)] == self._presence.me

    def _wake_all(self) -> None:
        for shard in self._shards:
            shard.woken.set()

    def _wake_owned(self, number: int) -> bool:
        owned = number < len(self._shards) and self._shards[number].owned
        if owned:
            self._shards[number].woken.set()
        return owned


class _Shard:
    """Owns one shard while it falls to this process, and tells what it holds."""

    def __init__(
        self,
        database: Database,
        eventlog: EventLog,
        lane: Lane,
        number: int,
        health: Health,
        stopped: StoppedKeys,
        joint: Joint,
        mine: Callable[[int], bool],
        owned_changed: Callable[[], None],
    ) -> None:
        self.number = number
        self.owned = False
        self.woken = asyncio.Event()
        self._database = database
        self._eventlog = eventlog
        self._lane: Lane = lane
        self._health = health
        self._stopped = stopped
        self._joint = joint
        self._mine = mine
        self._owned_changed = owned_changed
        self._poll_s = EMBEDDED_POLL_S if database.embedded else POLL_S
        self._backoff_s = _FIRST_BACKOFF_S

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.woken.clear()
            if not self._mine(self.number):
                self._stopped.waits_no_longer(self.number)
                await one_set_within((self.woken, stop), _UNWANTED_LOOK_S)
                continue
            try:
                await until_stopped(self._own(stop), stop, STOP_GRACE_S)
            except Unavailable as error:
                self._hear(error)
                log.warning("relay_waits", lane=self._lane, shard=self.number, reason=str(error))
                await stopped_within(stop, self._backoff_s * random.uniform(0.5, 1.0))
                self._backoff_s = min(self._backoff_s * 2, _BACKOFF_MAX_S)

    async def _own(self, stop: asyncio.Event) -> None:
        """Relay the shard as long as it falls to this process; return soon where another owns it."""
        async with owned_shard(
            self._database,
            self._eventlog,
            self._lane,
            self.number,
            self._health,
            self._stopped,
            joint=self._joint,
        ) as shard:
            if shard is None:
                self._stopped.waits_no_longer(self.number)
                await stopped_within(stop, _TRY_TO_OWN_EVERY_S)
                return
            self._set_owned(True)
            try:
                while not stop.is_set() and self._mine(self.number):
                    self.woken.clear()
                    await self._step(shard, stop)
                    if not (shard.more or self.woken.is_set()):
                        await one_set_within((self.woken, stop), self._poll_s)
                    if shard.sends_jointly and not shard.more:
                        # Another shard may have worked meanwhile: the next time they work together.
                        await self._pause(stop, self._joint.next_at_s)
            finally:
                self._set_owned(False)

    async def _step(self, shard: OwnedShard, stop: asyncio.Event) -> None:
        """Tell one batch, and pause after it."""
        rows = await shard.step()
        self._stopped.waits_no_longer(self.number)
        self._backoff_s = _FIRST_BACKOFF_S
        if not 0 < rows < _PACED_BELOW_ROWS:
            return
        next_at_s = asyncio.get_running_loop().time() + PACE_S
        if shard.sends_jointly:
            self._joint.next_at_s = max(self._joint.next_at_s, next_at_s)
        await self._pause(stop, next_at_s)

    async def _pause(self, stop: asyncio.Event, until_s: float) -> None:
        left_s = until_s - asyncio.get_running_loop().time()
        if left_s > 0:
            await stopped_within(stop, left_s)

    def _hear(self, error: Unavailable) -> None:
        """Report it: a log that answers all else may still take nothing, so only a step says that it does."""
        if error.dependency == EVENTLOG:
            self._stopped.wait(self.number, str(error))
        else:
            self._health.heard(error)

    def _set_owned(self, owned: bool) -> None:
        self.owned = owned
        self._owned_changed()
        shards_owned.labels(self._lane).inc(1 if owned else -1)
        log.info("relay_owns" if owned else "relay_let_go", lane=self._lane, shard=self.number)
