"""The consuming loop on an embedded log: effect before commit, batches, waiting for what is down."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import Consumer, EventLog, NewRecord, consumer
from backbone.eventlog.applying import Refusal
from backbone.eventlog.batches import BatchLimits
from backbone.eventlog.consumer import ConsumingLoop
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.patience import pause_s
from backbone.health import Health
from schemas.topics import CHANNELS_CHANGED, DEAD_LETTERS, MESSAGES_CREATED, partition_of
from tests.support.consuming import Effects, Texts, read_text
from tests.support.eventlog import after, record
from tests.support.waiting import until

CREATED = MESSAGES_CREATED


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    opened = EmbeddedEventLog(tmp_path / "eventlog.sqlite3", "platform")
    await opened.apply_topics([CREATED, DEAD_LETTERS], 3)
    yield opened
    await opened.close()


@pytest.fixture
def effects() -> Effects:
    return Effects()


@pytest.fixture
def health() -> Health:
    return Health("eventlog", "search")


@pytest.fixture
async def loop(log: EventLog, effects: Effects, health: Health) -> AsyncIterator[ConsumingLoop[str]]:
    made = ConsumingLoop(log, "g", [CREATED], read_text, effects, health, limits=BatchLimits(poll_s=0.05))
    yield made
    await made.close()


async def send(log: EventLog, *values: str, key: str = "k") -> None:
    await (await log.producer()).send([record(CREATED, key, value) for value in values])


async def committed(log: EventLog) -> int:
    return sum((await log.committed("g", [CREATED])).values())


def counted(metric: str) -> float:
    labels = {"group": "g", "topic": CREATED.name}
    return sum(
        REGISTRY.get_sample_value(metric, {**labels, "partition": str(partition)}) or 0.0
        for partition in range(3)
    )


class TestStep:
    async def test_a_step_applies_and_commits_a_batch(
        self, log: EventLog, loop: ConsumingLoop[str], effects: Effects
    ) -> None:
        """The handler gets the records in order, then their offsets are committed."""
        before = counted("maeari_consumer_records_total")
        assert await loop.step() == 0
        await send(log, "1", "2")
        assert await loop.step() == 2
        assert effects.batches == [["1", "2"]]
        assert await committed(log) == 2
        assert counted("maeari_consumer_records_total") == before + 2

    @pytest.mark.parametrize("error", [Unavailable("search", "down"), ValueError("a defect")])
    async def test_a_failed_batch_comes_again(
        self, log: EventLog, loop: ConsumingLoop[str], effects: Effects, error: Exception
    ) -> None:
        """When the handler fails nothing is committed, and the next step reads the same batch."""
        before = counted("maeari_consumer_retries_total")
        await send(log, "1", "2")
        effects.fail(error)
        for _ in range(2):
            with pytest.raises(type(error)):
                await steps(loop, 2)
            assert await committed(log) == 0
        effects.then = None
        assert await steps(loop, 2) == 2
        assert effects.batches == [["1", "2"]] * 3
        assert await committed(log) == 2
        assert counted("maeari_consumer_retries_total") == before + 2

    async def test_batches_are_bounded(self, log: EventLog, effects: Effects, health: Health) -> None:
        """A batch ends with its number of records or with its size, whichever comes first."""
        limits = BatchLimits(records=3, size_bytes=10, poll_s=0.05)
        loop = ConsumingLoop(log, "g", [CREATED], read_text, effects, health, limits=limits)
        await send(log, "1", "2", "3", "4", "55555", "66666", "7", "8888888888888", "9")
        assert await steps(loop, 9) == 9
        assert [len(batch) for batch in effects.batches] == [3, 2, 1, 1, 1, 1]
        await loop.close()

    async def test_a_batch_may_wait_for_company(
        self, log: EventLog, effects: Effects, health: Health
    ) -> None:
        """What comes before the first record has its age is applied with it."""
        limits = BatchLimits(records=3, age_s=5, poll_s=0.05)
        loop = ConsumingLoop(log, "g", [CREATED], read_text, effects, health, limits=limits)
        await send(log, "1")
        step = asyncio.create_task(loop.step())
        await send(log, "2")
        await send(log, "3")
        assert await step == 3
        assert effects.batches == [["1", "2", "3"]]
        await loop.close()

    async def test_only_the_partition_that_fails_waits(
        self, log: EventLog, loop: ConsumingLoop[str], effects: Effects
    ) -> None:
        """Given one record that cannot be applied for now, the other partitions are done all the same."""
        effects.fail_with("down")
        keys = {partition_of(f"k{n}", 3): f"k{n}" for n in range(20)}
        for partition, text in enumerate(("fine", "down", "good")):
            await send(log, text, "more", key=keys[partition])
        await until(lambda: applied(loop, effects, {"fine", "good"}))
        assert await committed(log) == 4
        await send(log, "news", key=keys[0])
        await until(lambda: applied(loop, effects, {"news"}))
        effects.then = None
        await until(lambda: applied(loop, effects, {"down"}))
        assert sorted(effects.applied) == sorted(["fine", "down", "good", "news", "more", "more", "more"])
        assert await committed(log) == 7

    async def test_a_tombstone_says_nothing(
        self, log: EventLog, loop: ConsumingLoop[str], effects: Effects
    ) -> None:
        """A record without a value is passed over, which one with an empty value is not."""
        records = [NewRecord(CREATED.name, "k", "k", value) for value in (b"1", None, b"", b"2")]
        await (await log.producer()).send(records)
        assert await steps(loop, 4) == 4
        assert effects.batches == [["1", "", "2"]]
        assert await committed(log) == 4


async def applied(loop: ConsumingLoop[str], effects: Effects, texts: set[str]) -> bool:
    """Step once, and say whether all these were applied."""
    with suppress(Unavailable):
        await loop.step()
    return texts <= set(effects.applied)


async def steps(loop: ConsumingLoop[str], number: int) -> int:
    """Step until that many records are done."""
    done = 0
    while done < number:
        done += await loop.step()
    return done


class TestRun:
    async def test_run_waits_for_what_is_down(
        self, log: EventLog, loop: ConsumingLoop[str], effects: Effects, health: Health
    ) -> None:
        """`ready` says what is down, work goes on when it is back, and a stop ends the loop soon."""
        stop = asyncio.Event()
        effects.fail(Unavailable("search", "connection refused"))
        await send(log, "1")
        running = asyncio.create_task(loop.run(stop))
        await until(lambda: answered(len(effects.batches) >= 2))
        assert health.readiness().dependencies["search"] == "connection refused"
        assert not health.readiness().ready
        effects.then = None
        await until(lambda: answered(health.readiness().ready))
        assert await committed(log) == 1
        stop.set()
        async with asyncio.timeout(1):
            await running

    async def test_run_survives_a_defect_of_the_handler(
        self, log: EventLog, loop: ConsumingLoop[str], effects: Effects, health: Health
    ) -> None:
        """An unexpected error is logged and in `ready` until the batch, which is not skipped, is done."""
        stop = asyncio.Event()
        effects.fail(KeyError("payload"))
        await send(log, "1")
        with capture_logs() as logs:
            running = asyncio.create_task(loop.run(stop))
            await until(lambda: answered(len(effects.batches) >= 2))
        assert health.readiness().status == "degraded"
        assert health.readiness().dependencies["g"] == "stands still: KeyError"
        effects.then = None
        await until(lambda: answered(health.readiness().status == "ok"))
        stop.set()
        await running
        assert [entry["error"] for entry in logs if entry["event"] == "consumer_failed"][:1] == ["KeyError"]
        assert await committed(log) == 1

    async def test_a_failed_batch_that_another_member_took_is_forgotten(
        self, tmp_path: Path, log: EventLog, loop: ConsumingLoop[str], effects: Effects, health: Health
    ) -> None:
        """Given a batch that failed here and succeeded elsewhere, nothing is said to be down any longer."""
        stop = asyncio.Event()
        effects.fail(Unavailable("search", "connection refused"))
        await send(log, "1")
        running = asyncio.create_task(loop.run(stop))
        await until(lambda: answered(not health.readiness().ready))
        elsewhere = EmbeddedEventLog(tmp_path / "eventlog.sqlite3", "platform")
        others: list[Consumer] = []
        while not await committed(log):
            # Who gets the partition is chance: sooner or later it is not the one that fails.
            others.append(await elsewhere.consumer("g", [CREATED]))
            for other in others:
                batch = await other.poll(10, 0.05)
                await other.commit(after(batch))
        await until(lambda: answered(health.readiness().ready))
        stop.set()
        await running
        await elsewhere.close()

    async def test_a_stop_cuts_a_hanging_handler_short(
        self, log: EventLog, loop: ConsumingLoop[str], effects: Effects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A handler that does not end is cancelled after the grace; its batch is not committed."""
        monkeypatch.setattr(consumer, "STOP_GRACE_S", 0.05)
        stop = asyncio.Event()

        async def hang(_batch: Texts) -> Sequence[Refusal]:
            stop.set()
            await asyncio.Event().wait()
            return []

        effects.then = hang
        await send(log, "1")
        async with asyncio.timeout(2):
            await loop.run(stop)
        assert effects.batches == [["1"]]
        assert await committed(log) == 0

    async def test_a_missing_topic_ends_the_loop(
        self, log: EventLog, effects: Effects, health: Health
    ) -> None:
        """What only people can mend is raised, with the line that says how."""
        loop = ConsumingLoop(log, "g", [CHANNELS_CHANGED], read_text, effects, health)
        with pytest.raises(SetupError, match="maeari topics apply"):
            await loop.run(asyncio.Event())

    def test_pauses_grow_to_a_bound(self) -> None:
        """Pauses double from 0.2 s to 10 s and vary by chance, but never below half."""
        for failures, longest in ((1, 0.2), (2, 0.4), (4, 1.6), (20, 10.0), (100_000, 10.0)):
            pauses = [pause_s(failures) for _ in range(20)]
            assert longest / 2 <= min(pauses) <= max(pauses) <= longest


async def answered(answer: bool) -> bool:
    return answer
