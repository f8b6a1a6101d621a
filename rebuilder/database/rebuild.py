"""Rebuilds the database's tables: loads the log into side tables, folds, proves, and swaps them in.

Guarantees: live tables are read only, until one transaction puts the others in their place; that is refused
on a gap, a record that cannot be read, or a row that differs. Killed at any point, the side tables hold
exactly what lies before their noted offsets, and `resume` goes on from there.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import IntegrityError

from backbone.database.engine import Database
from backbone.errors import SetupError
from backbone.eventlog import Reader
from backbone.progress import Progress
from rebuilder.database import checking, swapping
from rebuilder.database.catching_up import catch_up
from rebuilder.database.comparing import (
    Difference,
    compare,
    compare_wishes,
    lagging,
    note_proven,
    persisting,
)
from rebuilder.database.folding import fold, left, touch_channels
from rebuilder.database.phases import Phases
from rebuilder.database.report import DatabaseReport, Outcome
from rebuilder.database.side import Beside, Side, beside, drop_side, found, make_side
from rebuilder.database.sources import UNKNOWN_LOSS, Source, cut_of
from rebuilder.database.states import number
from rebuilder.database.storing import Contradicted, noted_problems, offsets_by_topic
from rebuilder.database.structure import detail_of, restore
from rebuilder.database.summary import counts_of, digests_of
from rebuilder.database.ways import NotProven, Ways
from rebuilder.refusal import NothingBegun, Refusal

LOOKS = 3
SWAP_ATTEMPTS = 3
PROBLEMS_NAMED = 20
_CATCH_UP_PASSES = 10
_LITTLE = 500

log = structlog.get_logger()


@dataclass
class Rebuild:
    """One run."""

    live: Database
    side: Side
    source: Source
    ways: Ways
    progress: Progress
    phases: Phases = field(default_factory=Phases)
    records: list[int] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    differing: int = 0
    gaps: list[str] = field(default_factory=list)
    held_s: float | None = None
    resumed: bool = False
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> DatabaseReport:
        """Build, prove, and compare or swap. Raises NothingBegun, Unavailable or SetupError."""
        await self._prepare()
        try:
            await self._build()
            reader = await self.source.reader(self.side)
            try:
                return await self._conclude(reader)
            finally:
                await reader.close()
        except Refusal as error:
            return await self._report("refused", reason=str(error))
        except ExceptionGroup as group:
            # What several loads at once met; anything but a refusal is the caller's.
            refusals, others = group.split(Refusal)
            if refusals is None or others is not None:
                raise
            return await self._report("refused", reason=str(refusals.exceptions[0]))

    async def _prepare(self) -> None:
        there = await found(self.live, self.side)
        if self.ways.resume:
            if not there:
                raise NothingBegun(f"--resume: there is nothing to go on with in {self.side.name}")
            run = await self.side.run()
            if run.source != self.ways.source:
                raise SetupError(
                    f"--resume: {self.side.name} is rebuilt from {run.source}: say --from {run.source}"
                )
            if run.phase != "swapped":
                self.resumed = True
                return
        await make_side(self.live, self.side, self.ways.source, self.ways.skip_poison)

    async def _build(self) -> None:
        """Go through the phases that are yet to be gone through."""
        for phase, following, work in (
            ("load", "shape", self._load),
            ("shape", "fold", self._shape),
            ("fold", "join", self._fold),
            ("join", "ready", self._join),
        ):
            if (await self.side.run()).phase != phase:
                continue
            with self.phases.timed(phase):
                await work()
            await self.side.enter(following)

    async def _load(self) -> None:
        self.records.append(await self.source.load(self.side, self.progress))
        await self._check_problems()

    async def _check_problems(self) -> None:
        problems = await noted_problems(self.side)
        if problems and not self.ways.skip_poison:
            raise NotProven(
                f"records that cannot be read: {len(problems):,}; --resume --skip-poison goes on without them"
            )

    async def _shape(self) -> None:
        self.progress.step("make indices")
        try:
            await restore(self.side.database, foreign=False)
        except* IntegrityError:
            self.progress.step("look for repeats")
            if wrong := await checking.without_repeats(self.side):
                raise Contradicted(f"the log contradicts itself: {wrong}") from None
            try:
                await restore(self.side.database, foreign=False)
            except* IntegrityError as group:
                raise Contradicted(f"the log contradicts itself: {detail_of(group)}") from None
        if self.source.whole_record and not self.side.embedded:
            await touch_channels(self.side)

    async def _fold(self) -> None:
        self.progress.step("fold")
        await fold(self.side, self.progress.advance)
        if not self.source.whole_record:
            await number(self.side)

    async def _join(self) -> None:
        # What the ends cut in two is whole once the rest is read, if it is anywhere.
        if await left(self.side):
            reader = await self.source.reader(self.side)
            try:
                async with self.live.looking() as connection:
                    await catch_up(connection, self.side, reader, self.records)
            finally:
                await reader.close()
        await self._check_gaps()
        await restore(self.side.database, foreign=True)

    async def _check_gaps(self) -> None:
        self.gaps = await checking.headless(self.side)
        if await left(self.side):
            self.gaps += await checking.gaps(self.side)
        elif not self.gaps:
            return
        raise NotProven(f"the log lacks events, which cannot be restored{await cut_of(self.source)}")

    async def _conclude(self, reader: Reader) -> DatabaseReport:
        await self._catch_up(reader)
        with self.phases.timed("compare"):
            self.progress.step("compare")
            empty = await checking.nothing_in(self.live)
            if not empty:
                await self._compare(reader)
        if self.ways.compare:
            return await self._report("compared")
        if self.differing and not self.ways.accept_differences:
            raise NotProven(f"rows that differ: {self.differing:,}; --accept-differences swaps all the same")
        if empty and not self.ways.accept_differences and (cut := await cut_of(self.source)):
            raise NotProven(f"{UNKNOWN_LOSS}{cut}")
        if not (empty or self.source.whole_record or self.ways.accept_differences):
            raise NotProven(
                "states lack the history that is live: use --from events, or --accept-differences to lose it"
            )
        with self.phases.timed("swap"):
            await self._swap(reader, prove=not (empty or self.ways.accept_differences))
        log.info("rebuild_database_swapped", side=self.side.name)
        kept = self.side.name if self.differing and not self.side.embedded else None
        # The side is the old tables now: what was counted is live.
        report = await self._report("swapped", before=kept)
        if kept is None:
            await drop_side(self.live, self.side)
        return report

    async def _catch_up(self, reader: Reader) -> None:
        self.progress.step("catch up")
        with self.phases.timed("catch up"):
            for _ in range(_CATCH_UP_PASSES):
                async with self.live.looking() as connection:
                    behind = await catch_up(connection, self.side, reader, self.records)
                self.progress.advance(behind)
                if behind < _LITTLE:
                    break
        await self._check_problems()

    async def _compare(self, reader: Reader) -> None:
        """Look until one look finds all to be the same: what is only later is there in the next one."""
        wishes: set[Difference] | None = None
        for _ in range(LOOKS):
            async with self._beside() as near:
                late = await lagging(near)
                number, found_now = await compare(near, held=False, record=self.source.whole_record)
                wishes_now = await compare_wishes(near)
                if not number:
                    # In the snapshot that was compared: what comes later is not proven by it.
                    await note_proven(near)
                    await swapping.keep_tombstones(near)
                    await near.connection.commit()
            await self._catch_up(reader)
            async with self._beside() as near:
                found_now += await persisting(near, late)
            # Of wishes nobody knows what is only later: one that differs each time does.
            wishes = wishes_now if wishes is None else wishes & wishes_now
            self.differences = [*found_now, *wishes]
            self.differing = max(number, len(found_now)) + len(wishes)
            if not self.differing:
                break

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[Beside]:
        async with beside(self.live, self.side) as near:
            try:
                await swapping.attach(near, self.side)
                yield near
            finally:
                if self.side.embedded:
                    await near.connection.invalidate()
                else:
                    await near.connection.rollback()

    async def _swap(self, reader: Reader, *, prove: bool) -> None:
        reason = ""
        for attempt in range(SWAP_ATTEMPTS):
            if attempt:
                await self._catch_up(reader)
            try:
                async with asyncio.timeout(swapping.HELD_MAX_S + 20.0):
                    await self._swap_once(reader, prove=prove)
                return
            except TimeoutError:
                reason = f"it took longer than {swapping.HELD_MAX_S:g} s while writes waited"
            log.warning("rebuild_swap_failed", reason=reason, attempt=attempt + 1)
        raise NotProven(f"the tables could not be swapped, tried {SWAP_ATTEMPTS} times: {reason}")

    async def _swap_once(self, reader: Reader, *, prove: bool) -> None:
        async with swapping.writes_held(self.live, self.side) as near:
            held_since = time.monotonic()
            async with asyncio.timeout(swapping.HELD_MAX_S if not self.side.embedded else None):
                await catch_up(near.connection, self.side, reader, self.records)
                await self._check_problems()
                await self._check_gaps()
                await swapping.attach(near, self.side)
                if prove:
                    self.differing, self.differences = await compare(
                        near, held=True, record=self.source.whole_record
                    )
                    if self.differing:
                        raise NotProven(f"rows that differ once writes were held: {self.differing:,}")
                await swapping.exchange(near, self.side)
            self.held_s = round(time.monotonic() - held_since, 3)

    async def _report(
        self, outcome: Outcome, *, reason: str | None = None, before: str | None = None
    ) -> DatabaseReport:
        problems = await noted_problems(self.side)
        described = self.live if outcome == "swapped" else self.side.database
        counts = await counts_of(described, sum(self.records), self.differing, len(problems))
        with self.phases.timed("digest"):
            digests = await digests_of(described)
        return DatabaseReport(
            source=self.ways.source,
            outcome=outcome,
            reason=reason,
            side=self.side.name,
            before=before,
            resumed=self.resumed,
            held_s=self.held_s,
            offsets=await offsets_by_topic(self.side),
            beginnings=dict(await self.source.beginnings()),
            counts=counts,
            digests=digests.as_text(),
            gaps=tuple(self.gaps),
            differences=tuple(self.differences[:PROBLEMS_NAMED]),
            problems=tuple(problems[:PROBLEMS_NAMED]),
            phases=self.phases.seconds,
            seconds=round(time.monotonic() - self.started, 3),
        )
