"""The archiver's work: every record of the log into the archive's files, each record once.

Guarantees: what is archived is decided by the archive alone. A partition that is taken over is read from
where its files end, whatever the group has committed; offsets are committed once their file is durable.
A record waits for its file a bounded time, and in bounded memory; a storage that is down stops progress
and loses nothing.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import structlog

from archiver import metrics
from archiver.drafts import Draft, DraftLimits, Drafts, Loss, pieces
from backbone.archive import DEPENDENCY, Damaged, NotStored, Storage
from backbone.archive.manifest import Range
from backbone.archive.partition import Overtaken, PartitionArchive
from backbone.archive.settings import ArchiveSettings
from backbone.background import keep_doing
from backbone.clock import Clock
from backbone.errors import SetupError, Unavailable
from backbone.eventlog import DEPENDENCY as EVENTLOG
from backbone.eventlog import Assignment, Consumer, EventLog, TopicPartition, TopicState
from backbone.eventlog.patience import Patience, pause_s, reason_of
from backbone.eventlog.telling import MemberTeller
from backbone.health import Health
from backbone.waiting import stopped_within, until_stopped
from schemas.topics import ALL_TOPICS, GROUP_ARCHIVER

TOPICS = ALL_TOPICS
POLL_MAX_RECORDS = 2_000
POLL_S = 0.5
TELL_EVERY_S = 2.0
# What is written at once; each has its bytes in memory several times over meanwhile.
WRITERS = 3
STOP_GRACE_S = 10.0

log = structlog.get_logger()


class Archiver:
    """One member of the group `archive-service`."""

    def __init__(
        self,
        eventlog: EventLog,
        storage: Storage,
        clock: Clock,
        health: Health,
        limits: DraftLimits,
        instance: str | None = None,
    ) -> None:
        self._eventlog = eventlog
        self._storage = storage
        self._clock = clock
        self._instance = instance
        self._told = MemberTeller(GROUP_ARCHIVER, health)
        self._consumer: Consumer | None = None
        self._generation: int | None = None
        self._drafts = Drafts(limits)
        self._chains: dict[TopicPartition, PartitionArchive] = {}
        self._untaken: frozenset[TopicPartition] = frozenset()
        self._patience = Patience()
        self._writers = asyncio.Semaphore(WRITERS)
        self._failures = 0

    @property
    def waiting_records(self) -> int:
        """How many records were read and are not archived yet."""
        return self._drafts.records

    async def step(self) -> int:
        """Read what is next, archive what is due; return the number of new records. Raises Unavailable."""
        read, errors = await self._step()
        if errors:
            raise errors[0]
        return read

    async def flush(self) -> None:
        """Archive all that was read, due or not. Raises Unavailable."""
        while self._consumer is not None and (due := self._drafts.due(0.0, all_=True)):
            errors = await self._write(self._consumer, due)
            if errors:
                raise errors[0]

    async def run(self, stop: asyncio.Event) -> None:
        """Step until `stop` is set; then archive what was read. Raises SetupError."""
        telling = asyncio.create_task(keep_doing(f"progress of {GROUP_ARCHIVER}", self._tell, TELL_EVERY_S))
        try:
            while not stop.is_set():
                wait_s = await until_stopped(self._attempt(), stop, STOP_GRACE_S)
                if wait_s:
                    await stopped_within(stop, wait_s)
            async with asyncio.timeout(STOP_GRACE_S):
                await self.flush()
        except (TimeoutError, Unavailable) as error:
            log.warning(
                "archive_left_behind", reason=str(error), remedy="it is read again after the next start"
            )
        finally:
            telling.cancel()
            await asyncio.wait({telling})

    async def close(self) -> None:
        """Leave the group; what waits for its file is read again by whoever comes next."""
        self._told.show({})
        self._drafts.clear()
        consumer, self._consumer = self._consumer, None
        self._generation = None
        if consumer is not None:
            await consumer.close()

    async def _attempt(self) -> float:
        """Make one step and note how it went; return the pause before the next, in seconds."""
        try:
            _, errors = await self._step()
        except SetupError:
            raise
        except Exception as error:  # noqa: BLE001 - no defect must end the process's work for good
            self._told.failed(error)
            self._failures += 1
            return pause_s(self._failures)
        self._failures = 0
        for each in errors:
            self._told.failed(each)
        self._told.show_up_but_for({*map(reason_of, errors), *self._patience.reasons})
        return 0.0

    async def _step(self) -> tuple[int, list[Exception]]:
        now_s = asyncio.get_running_loop().time
        if self._consumer is None:
            self._consumer = await self._eventlog.consumer(GROUP_ARCHIVER, TOPICS, self._instance)
        consumer = self._consumer
        waiting = self._patience.waiting(now_s())
        held = consumer.assignment.places
        consumer.pause(held if self._drafts.full else waiting | self._untaken)
        records = await consumer.poll(POLL_MAX_RECORDS, POLL_S)
        self._own(consumer.assignment)
        # Before anything is taken over: these were read from where the group's offsets are.
        moment_s, moment_ms = now_s(), self._clock.now_ms()
        read = sum([self._drafts.add(record, moment_s, moment_ms) for record in records])
        errors = await self._take_over(consumer, self._untaken - waiting)
        waiting = self._patience.waiting(now_s())
        errors += await self._write(consumer, self._drafts.due(now_s(), but=waiting))
        metrics.waiting_records.set(self._drafts.records)
        metrics.waiting_bytes.set(self._drafts.size_bytes)
        return read, errors

    def _own(self, assignment: Assignment) -> None:
        """Begin anew where the partitions may have been another's: all that waits is read again."""
        if assignment.generation == self._generation:
            return
        self._generation = assignment.generation
        self._drafts.clear()
        self._untaken = assignment.places
        self._patience.keep_only(assignment.places)

    async def _take_over(self, consumer: Consumer, places: Collection[TopicPartition]) -> list[Exception]:
        """Read partitions from where their files end; return what kept some of them from that."""
        if not places:
            return []
        looks = {
            place: asyncio.ensure_future(asyncio.to_thread(self._chain(place).refresh)) for place in places
        }
        await asyncio.wait(looks.values())
        # Only now: what the archive has, the log had.
        states = await self._eventlog.topics()
        begun, errors = {}, []
        for place, look in looks.items():
            try:
                begun[place] = await self._begin(place, look.result(), states[place.topic])
            except Overtaken:
                continue  # another has just noted the same: it is looked at again
            except Exception as error:  # noqa: BLE001 - one partition's, which the others do not wait for
                errors.append(self._failed(place, error))
        await consumer.rewind(begun)
        for place, position in begun.items():
            self._drafts.begin(place, position)
        self._untaken -= begun.keys()
        self._patience.succeeded(begun)
        await consumer.commit(begun)
        return errors

    async def _begin(self, place: TopicPartition, end: int, state: TopicState) -> int:
        """Return the offset from which on a partition is archived. Raises Unavailable."""
        earliest, log_end = state.earliest[place.partition], state.end[place.partition]
        name = f"{self._eventlog.full_name(place.topic)}/{place.partition}"
        if log_end < 0:
            raise Unavailable(EVENTLOG, f"nobody leads {name}")
        if log_end < end:
            raise Unavailable(
                DEPENDENCY,
                f"it has {name} up to offset {end - 1}, and the log ends at {log_end}: "
                "this is the archive of another log; set MAEARI_ARCHIVE_URL",
            )
        if earliest > end:
            await self._note_lost(place, Loss(end, earliest - 1))
        return max(earliest, end)

    async def _write(self, consumer: Consumer, drafts: Sequence[Draft]) -> list[Exception]:
        """Archive drafts, and commit what is archived; return what kept some from being archived."""
        if not drafts:
            return []
        holes = any(any(draft.holes) for draft in drafts)
        states = await self._eventlog.topics() if holes else {}
        writing = {draft.place: asyncio.ensure_future(self._write_one(draft, states)) for draft in drafts}
        await asyncio.wait(writing.values())
        errors, done = [], {}
        for draft in drafts:
            error = writing[draft.place].exception()
            if error is None:
                self._drafts.written(draft)
                done[draft.place] = draft.after
            elif isinstance(error, Overtaken):
                self._give_way(draft.place)
            elif isinstance(error, Exception):
                errors.append(self._failed(draft.place, error))
            else:
                raise error
        self._patience.succeeded(done)
        if done:
            await consumer.commit(done)
        return errors

    async def _write_one(self, draft: Draft, states: Mapping[str, TopicState]) -> None:
        place = draft.place
        chain = self._chain(place)
        earliest = states[place.topic].earliest[place.partition] if states else 0
        for piece in pieces(draft, earliest):
            if isinstance(piece, Loss):
                await self._note_lost(place, piece)
            else:
                async with self._writers:
                    entry: Range = await asyncio.to_thread(chain.append, piece.records, piece.first)
                metrics.files.labels(place.topic).inc()
                metrics.records.labels(place.topic).inc(entry.records)
                metrics.stored.labels(place.topic).inc(entry.size_bytes)

    async def _note_lost(self, place: TopicPartition, loss: Loss) -> None:
        entry = await asyncio.to_thread(self._chain(place).note_lost, loss.first, loss.last)
        metrics.lost.labels(place.topic).inc(entry.last - entry.first + 1)
        log.error(
            "archive_lost_offsets",
            topic=entry.topic,
            partition=entry.partition,
            first=entry.first,
            last=entry.last,
        )

    def _give_way(self, place: TopicPartition) -> None:
        """Take a partition over once more: another has archived what this member was about to."""
        log.warning("archive_overtaken", topic=place.topic, partition=place.partition)
        metrics.overtaken.labels(place.topic).inc()
        self._drafts.forget(place)
        self._untaken |= {place}

    def _failed(self, place: TopicPartition, error: Exception) -> Exception:
        """Note that a partition has to wait; return what is told of that."""
        if isinstance(error, Damaged | NotStored):
            error = Unavailable(DEPENDENCY, str(error))
        self._patience.failed([place], reason_of(error), asyncio.get_running_loop().time())
        return error

    def _chain(self, place: TopicPartition) -> PartitionArchive:
        if place not in self._chains:
            full_name = self._eventlog.full_name(place.topic)
            self._chains[place] = PartitionArchive(self._storage, full_name, place.partition)
        return self._chains[place]

    async def _tell(self) -> None:
        """Show how far the partitions are archived, whatever the steps are waiting for."""
        if self._consumer is None:
            return
        try:
            progress = await self._consumer.progress()
        except Unavailable:
            return  # the steps hear of that, and tell it
        self._told.show(self._drafts.archived(progress))


async def serve(
    eventlog: EventLog,
    storage: Storage,
    clock: Clock,
    settings: ArchiveSettings,
    health: Health,
    stop: asyncio.Event,
    instance: str | None = None,
) -> None:
    """Archive until `stop` is set; the topics exist already. Raises SetupError."""
    await asyncio.to_thread(storage.prepare)
    archiver = Archiver(eventlog, storage, clock, health, DraftLimits.of(settings), instance)
    try:
        await archiver.run(stop)
    finally:
        await archiver.close()
