"""Rebuilds notifications: rehearses the log beside the live tables, and puts inboxes right that differ.

Guarantees: what is right is not touched, and keeps its numbers; notifiers and sockets go on. Killed at any
point, every inbox is as it was or right, and `resume` goes on with the rehearsal.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clock import Clock
from backbone.database.engine import Database
from backbone.errors import Unavailable
from backbone.eventlog import TopicPartition
from backbone.progress import Progress
from rebuilder.database.side import Side, drop_side, found, make_side
from rebuilder.database.storing import noted_offsets, noted_problems
from rebuilder.notifications.comparing import Tally, differing
from rebuilder.notifications.holdings import Horizon, holdings_of, late_messages
from rebuilder.notifications.inboxes import Righted, righted
from rebuilder.notifications.memory import bring_back
from rebuilder.notifications.mending import HELD_MAX_S, lock_inboxes, notifiers_held, put_right
from rebuilder.notifications.reading import TOPICS, Reading, open_reading
from rebuilder.notifications.rehearsal import Rehearsal
from rebuilder.notifications.report import Counts, Difference, NotificationsReport, Outcome
from rebuilder.notifications.tables import own
from rebuilder.patience import patiently
from rebuilder.readers import Log
from rebuilder.refusal import NothingBegun
from schemas.topics import CHANNELS_CHANGED, GROUP_NOTIFIER, MESSAGE_TOPICS

PASSES = 5
NAMED = 20
APPLIED_WITHIN_S = 10.0
_ASK_AGAIN_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How to rebuild: `compare` changes nothing, `resume` goes on with what an earlier run left.

    With `skip_poison` records that cannot be read are left out.
    """

    source: str = "events"
    compare: bool = False
    resume: bool = False
    skip_poison: bool = False


@dataclass
class Rebuild:
    """One run."""

    log: Log
    live: Database
    side: Side
    clock: Clock
    ways: Ways
    progress: Progress
    resumed: bool = False
    held_s: float = 0.0
    restored: int = 0
    renumbered: int = 0
    taken_back: int = 0
    behind: int = 0
    tally: Tally = field(default_factory=Tally)
    differences: list[Difference] = field(default_factory=list)
    beginnings: dict[str, tuple[int, ...]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> NotificationsReport:
        """Rehearse, put right, prove. Raises NothingBegun, Unavailable or SetupError."""
        await self._prepare()
        rehearsal = Rehearsal(self.side, self.clock, await self._committed())
        noted = await noted_offsets(self.side)
        async with open_reading(self.log, rehearsal, noted, self.progress) as reading:
            await reading.to_the_ends("rehearse")
            self.beginnings = await self._beginnings()
            problems = await noted_problems(self.side)
            if problems and not self.ways.skip_poison:
                reason = f"records that cannot be read: {len(problems):,}; --skip-poison goes on without them"
                return await self._report(reading, "refused", reason)
            if not self.ways.compare:
                await self._put_right(reading)
            await self._prove(reading)
            if self.differences and not self.ways.compare:
                return await self._report(reading, "refused", "inboxes differ still: --resume tries again")
            report = await self._report(reading, "compared" if self.ways.compare else "put right")
        await drop_side(self.live, self.side)
        return report

    async def _prepare(self) -> None:
        there = await found(self.live, self.side)
        if self.ways.resume and not there:
            raise NothingBegun(f"--resume: there is nothing to go on with in {self.side.name}")
        self.resumed = self.ways.resume
        if not self.resumed:
            await make_side(
                self.live, self.side, self.ways.source, self.ways.skip_poison, own, stripped=False
            )

    async def _put_right(self, reading: Reading) -> None:
        """Bring back what the notifier knows, then put inboxes right until none differs."""
        for number in range(PASSES):
            if number:
                await reading.to_the_ends("read on")
            horizon = await self._horizon()
            await bring_back(self.live, self.side, horizon.late, self.progress)
            self.progress.step("compare")
            tally = Tally()
            async for found_now in differing(self.live, self.side, horizon, tally):
                await patiently(partial(self._mend, reading, list(found_now)))
            if not tally.differing:
                return

    async def _mend(self, reading: Reading, users: list[str]) -> None:
        """Put some inboxes right. Raises Unavailable where that takes too long; then none of them changed."""
        # Not for long, then: what came meanwhile is little.
        await reading.to_the_ends("read on")
        try:
            async with notifiers_held(self.live) as connection:
                held_since = time.monotonic()
                async with asyncio.timeout(HELD_MAX_S):
                    changes = await self._mend_held(connection, reading, users)
        except TimeoutError as error:
            raise Unavailable("inboxes", f"they took longer than {HELD_MAX_S:g} s to put right") from error
        self.held_s = max(self.held_s, round(time.monotonic() - held_since, 3))
        self._count(changes)

    async def _mend_held(
        self, connection: AsyncConnection, reading: Reading, users: list[str]
    ) -> Mapping[str, Righted]:
        await reading.to_the_ends("read on")
        await lock_inboxes(connection, users)
        horizon = await self._horizon()
        async with self.side.database.looking() as of_side:
            holdings = await holdings_of(connection, of_side, users, horizon)
        found = {user_id: righted(holding) for user_id, holding in holdings.items()}
        changes = {user_id: right for user_id, right in found.items() if not right.nothing}
        if changes:
            await put_right(self.live, connection, self.clock, changes)
        return changes

    def _count(self, changes: Mapping[str, Righted]) -> None:
        for right in changes.values():
            self.renumbered += right.anew
            self.restored += 0 if right.anew else len(right.put)
            self.taken_back += len(right.withdraw)

    async def _prove(self, reading: Reading) -> None:
        """Compare all; what is only later is the same once the notifier has come as far as was read."""
        suspects: dict[str, Difference] | None = None
        for number in range(PASSES):
            if number:
                self.behind = await self._left_unapplied(reading)
                await reading.to_the_ends("read on")
            self.progress.step("compare")
            self.tally = Tally()
            found_now: dict[str, Difference] = {}
            async for some in differing(self.live, self.side, await self._horizon(), self.tally):
                found_now |= {
                    user_id: Difference(user_id=user_id, how=str(right)) for user_id, right in some.items()
                }
            suspects = (
                found_now
                if suspects is None
                else {user_id: each for user_id, each in found_now.items() if user_id in suspects}
            )
            if not suspects:
                break
        self.differences = sorted((suspects or {}).values(), key=lambda each: each.user_id)
        self.behind = await self._unapplied(reading)

    async def _left_unapplied(self, reading: Reading) -> int:
        until_s = time.monotonic() + APPLIED_WITHIN_S
        while left := await self._unapplied(reading):
            if time.monotonic() > until_s:
                break
            await asyncio.sleep(_ASK_AGAIN_S)
        return left

    async def _unapplied(self, reading: Reading) -> int:
        """Return how many records of messages that were read the notifier has yet to apply."""
        committed = await self._committed()
        return sum(max(0, at - committed.get(place, 0)) for place, at in reading.messages.positions().items())

    async def _committed(self) -> Mapping[TopicPartition, int]:
        return await patiently(lambda: self.log.committed(GROUP_NOTIFIER, MESSAGE_TOPICS))

    async def _horizon(self) -> Horizon:
        committed = await self._committed()
        async with self.side.database.looking() as connection:
            return Horizon(await late_messages(connection, committed), whole=not self.beginnings)

    async def _beginnings(self) -> dict[str, tuple[int, ...]]:
        """Return where the topics begin that inboxes follow from, of those that lack something."""
        states = await patiently(self.log.topics)
        names = [topic.name for topic in (*MESSAGE_TOPICS, CHANNELS_CHANGED)]
        return {name: states[name].earliest for name in names if any(at > 0 for at in states[name].earliest)}

    async def _report(
        self, reading: Reading, outcome: Outcome, reason: str | None = None
    ) -> NotificationsReport:
        problems = await noted_problems(self.side)
        offsets: dict[str, list[int]] = {topic.name: [] for topic in TOPICS}
        for place, at in sorted((await noted_offsets(self.side)).items()):
            offsets[place.topic].append(at)
        return NotificationsReport(
            source=self.ways.source,
            outcome=outcome,
            reason=reason,
            resumed=self.resumed,
            held_s=self.held_s,
            offsets=offsets,
            beginnings=self.beginnings,
            behind=self.behind,
            counts=Counts(
                records=reading.records,
                users=self.tally.users,
                notifications=self.tally.notifications,
                retracted=self.tally.retracted,
                read_before=self.tally.read_before,
                restored=self.restored,
                renumbered=self.renumbered,
                taken_back=self.taken_back,
                differing_users=len(self.differences),
                problems=len(problems),
            ),
            digests=self.tally.digests(),
            differences=tuple(self.differences[:NAMED]),
            problems=tuple(problems[:NAMED]),
            seconds=round(time.monotonic() - self.started, 3),
        )
