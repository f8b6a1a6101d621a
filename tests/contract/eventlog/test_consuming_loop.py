"""The consuming loop on an embedded log: effect before commit, parking, waiting for what is down."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from backbone.errors import SetupError, Unavailable
from backbone.eventlog import MAX_RECORD_BYTES, Consumer, EventLog, NewRecord, Record, consumer
from backbone.eventlog.consumer import ConsumingLoop, Refusal
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.health import Health
from schemas.topics import CHANNELS_CHANGED, DEAD_LETTERS, MESSAGES_CREATED, partition_of
from tests.support.eventlog import after, read_to_end, record, texts
from tests.support.waiting import until

CREATED = MESSAGES_CREATED


class Effects:
    """A handler that remembers what it was given; `then` decides what becomes of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.then: Callable[[Sequence[Record]], Awaitable[Sequence[Refusal]]] | None = None

    async def __call__(self, records: Sequence[Record]) -> Sequence[Refusal]:
        self.batches.append(texts(records))
        return [] if self.then is None else await self.then(records)

    def fail(self, error: Exception) -> None:
        """Raise this with every batch."""

        async def then(_records: Sequence[Record]) -> Sequence[Refusal]:
            raise error

        self.then = then

    def refuse(self, *values: str) -> None:
        """Refuse the records with these values."""

        async def then(records: Sequence[Record]) -> Sequence[Refusal]:
            return [Refusal(r, "because") for r in records if (r.value or b"").decode() in values]

        self.then = then


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
async def loop(log: EventLog, effects: Effects, health: Health) -> AsyncIterator[ConsumingLoop]:
    made = ConsumingLoop(log, "g", [CREATED], effects, health, poll_timeout_s=0.05)
    yield made
    await made.close()


async def send(log: EventLog, *values: str, key: str = "k") -> None:
    await (await log.producer()).send([record(CREATED, key, value) for value in values])


async def committed(log: EventLog) -> int:
    return sum((await log.committed("g", [CREATED])).values())


async def parked(log: EventLog) -> list[Record]:
    return await read_to_end(await log.reader([DEAD_LETTERS]))


def counted(metric: str) -> float:
    return REGISTRY.get_sample_value(metric, {"group": "g", "topic": CREATED.name}) or 0.0


class TestStep:
    async def test_a_step_applies_and_commits_a_batch(
        self, log: EventLog, loop: ConsumingLoop, effects: Effects
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
        self, log: EventLog, loop: ConsumingLoop, effects: Effects, error: Exception
    ) -> None:
        """When the handler fails nothing is committed, and the next step reads the same batch."""
        before = counted("maeari_consumer_retries_total")
        await send(log, "1", "2")
        effects.fail(error)
        for _ in range(2):
            with pytest.raises(type(error)):
                await loop.step()
            assert await committed(log) == 0
        effects.then = None
        assert await loop.step() == 2
        assert effects.batches == [["1", "2"]] * 3
        assert await committed(log) == 2
        assert counted("maeari_consumer_retries_total") == before + 2

    async def test_a_refused_record_is_parked_and_passed(
        self, log: EventLog, loop: ConsumingLoop, effects: Effects
    ) -> None:
        """It lies in the dead letters with its place and the reason, in the partition of its own key."""
        before = counted("maeari_consumer_parked_total")
        await send(log, "good", "나쁜 것", "good too", key="채널")
        effects.refuse("나쁜 것")
        assert await loop.step() == 3
        assert await committed(log) == 3
        (letter,) = await parked(log)
        partition = partition_of("채널", 3)
        assert (letter.key, letter.partition) == (f"g/{log.full_name(CREATED.name)}/{partition}/1", partition)
        content = json.loads(letter.value or b"")
        assert content.pop("timestamp") > 1_700_000_000_000
        assert content == {
            "group": "g",
            "topic": log.full_name(CREATED.name),
            "partition": partition,
            "offset": 1,
            "error": "because",
            "key": "채널",
            "value": "나쁜 것",
            "encoding": "utf-8",
        }
        assert counted("maeari_consumer_parked_total") == before + 1

    async def test_any_value_can_be_parked(
        self, log: EventLog, loop: ConsumingLoop, effects: Effects
    ) -> None:
        """Bytes that are no text come as base64, a tombstone as null, what is too large not at all."""

        async def refuse_all(records: Sequence[Record]) -> Sequence[Refusal]:
            return [Refusal(r, "no\n" * 5_000) for r in records]

        effects.then = refuse_all
        values = (b"\xff\xfe", None, b"\x00" * (MAX_RECORD_BYTES - 1))
        await (await log.producer()).send([NewRecord(CREATED.name, "k", "k", value) for value in values])
        assert await steps(loop, 3) == 3
        letters = [json.loads(r.value or b"") for r in await parked(log)]
        assert [(letter["value"], letter["encoding"]) for letter in letters] == [
            (base64.b64encode(b"\xff\xfe").decode(), "base64"),
            (None, "utf-8"),
            (None, "omitted"),
        ]

    async def test_what_cannot_be_parked_is_not_committed(
        self, tmp_path: Path, effects: Effects, health: Health
    ) -> None:
        """When the dead letters cannot be written the batch is not done."""
        log = EmbeddedEventLog(tmp_path / "other.sqlite3", "platform")
        await log.apply_topics([CREATED], 3)
        loop = ConsumingLoop(log, "g", [CREATED], effects, health)
        await send(log, "bad")
        effects.refuse("bad")
        with pytest.raises(Unavailable, match="dead-letters"):
            await loop.step()
        assert await committed(log) == 0
        await log.close()


async def steps(loop: ConsumingLoop, number: int) -> int:
    """Step until that many records are done."""
    done = 0
    while done < number:
        done += await loop.step()
    return done


class TestRun:
    async def test_run_waits_for_what_is_down(
        self, log: EventLog, loop: ConsumingLoop, effects: Effects, health: Health
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
        self, log: EventLog, loop: ConsumingLoop, effects: Effects, health: Health
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
        self, tmp_path: Path, log: EventLog, loop: ConsumingLoop, effects: Effects, health: Health
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
        self, log: EventLog, loop: ConsumingLoop, effects: Effects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A handler that does not end is cancelled after the grace; its batch is not committed."""
        monkeypatch.setattr(consumer, "STOP_GRACE_S", 0.05)
        stop = asyncio.Event()

        async def hang(_records: Sequence[Record]) -> Sequence[Refusal]:
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
        loop = ConsumingLoop(log, "g", [CHANNELS_CHANGED], effects, health)
        with pytest.raises(SetupError, match="maeari topics apply"):
            await loop.run(asyncio.Event())

    def test_pauses_grow_to_a_bound(self) -> None:
        """Pauses double from 0.2 s to 10 s and vary by chance, but never below half."""
        for failures, longest in ((1, 0.2), (2, 0.4), (4, 1.6), (20, 10.0), (100_000, 10.0)):
            pauses = [consumer._pause_s(failures) for _ in range(20)]
            assert longest / 2 <= min(pauses) <= max(pauses) <= longest


async def answered(answer: bool) -> bool:
    return answer
