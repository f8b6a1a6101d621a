"""What is asked of parked records at the same time, on the file and on Kafka: its order, and who waits."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pytest

from backbone.errors import Unavailable
from backbone.eventlog import EventLog, NewRecord
from backbone.eventlog import applying as applying_module
from backbone.eventlog.applying import Refusal
from backbone.eventlog.parking import requests as requests_module
from schemas.topics import DEAD_LETTERS, MESSAGES_CREATED
from tests.contract.eventlog.test_parking import BESIDE, FREE, STUCK, send
from tests.contract.eventlog.test_parking_requests import letter_of_nothing, stopped
from tests.support.consuming import Effects, Texts
from tests.support.eventlog import LogSite, append
from tests.support.parking import GROUP, TOPICS, Member, ask, letters, member, outcome
from tests.support.waiting import until


@pytest.fixture
async def log(site: LogSite) -> EventLog:
    opened = site.open()
    await opened.apply_topics((*TOPICS, DEAD_LETTERS), 3)
    return opened


async def done(one: Member, log: EventLog, *asked: str) -> list[dict[str, object]]:
    """Step until requests are done, whatever fails meanwhile; return their outcomes."""
    outcomes: dict[str, dict[str, object]] = {}
    async with asyncio.timeout(20):
        while outcomes.keys() != set(asked):
            with suppress(ValueError):
                await one.step()
            for each in asked:
                if (told := await outcome(log, each)) is not None:
                    outcomes[each] = told
    return [outcomes[each] for each in asked]


async def sources(log: EventLog, key: str | None = None) -> list[str]:
    return [
        each["place"].partition("/")[2]
        for each in await letters(log)
        if key is None or each["ordering_key"] == key
    ]


async def test_replays_of_one_key_are_done_in_the_order_asked(log: EventLog) -> None:
    """Each names the letter behind the former's: none of them comes too early."""
    async with member(log) as one:
        await stopped(one, log, "2", "3")
        one.effects.then = None
        asked = [await ask(log, "replay", STUCK, source) for source in await sources(log)]
        outcomes = await done(one, log, *asked)
        assert [each["error"] for each in outcomes] == [None, None, None]
        assert one.effects.applied == ["no", "2", "3"]


async def test_nothing_of_a_long_drop_is_applied(log: EventLog) -> None:
    """A replay of the same key, asked for before, gets no letter that was to be dropped."""
    async with member(log) as one:
        await stopped(one, log, *map(str, range(1_500)))
        one.effects.fail(ValueError("a defect"))
        replay = await ask(log, "replay", STUCK)
        with pytest.raises(ValueError, match="a defect"):
            await one.step_for_ever()
        one.effects.then = None
        drop = await ask(log, "drop", STUCK)
        replayed, dropped = await done(one, log, replay, drop)
        assert (replayed["replayed"], dropped["dropped"]) == (0, 1_501)
        assert one.effects.applied == []


async def test_a_later_drop_takes_what_an_earlier_one_would_have_applied(log: EventLog) -> None:
    """What came behind the first drop was there when the second was asked for."""
    async with member(log) as one:
        await stopped(one, log)
        first = await ask(log, "drop", STUCK)
        await append(log, [letter_of_nothing(log, "later")])
        second = await ask(log, "drop", STUCK)
        one.effects.then = None
        outcomes = await done(one, log, first, second)
        assert [each["dropped"] for each in outcomes] == [1, 1]
        assert one.effects.applied == []


async def defective(batch: Texts) -> Sequence[Refusal]:
    """Meet a defect with what holds `bad`."""
    if any(text == "bad" for _, text in batch):
        raise ValueError("a defect")
    return []


async def test_a_defect_slows_no_other_replay(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay that fails again and again is tried after pauses, while another one goes on bit by bit."""
    monkeypatch.setattr(requests_module, "AT_ONCE", 5)
    texts = [str(number) for number in range(100)]
    async with member(log) as one:
        await send(log, BESIDE, "bad")
        one.effects.refuse("bad", "no")
        await one.until(lambda: one.loop.parked == 1)
        await stopped(one, log, *texts)
        one.effects.then = defective
        failing = await ask(log, "replay", BESIDE)
        with pytest.raises(ValueError, match="a defect"):
            await one.step_for_ever()
        one.effects.batches.clear()
        asked = await ask(log, "replay", STUCK)
        (told,) = await done(one, log, asked)
        assert told["replayed"] == 101
        assert one.effects.applied == ["no", *texts]
        # Were it tried with each bit of the other one, there would be some twenty attempts.
        assert one.effects.batches.count(["bad"]) < 10
        assert await outcome(log, failing) is None
        assert one.health.readiness().status == "degraded"


async def test_the_probes_tell_of_a_replay_that_fails_until_it_is_done(log: EventLog) -> None:
    """However many batches go through while it waits."""
    async with member(log) as one:
        one.effects.refuse("bad")
        await send(log, STUCK, "bad")
        await one.until(lambda: one.loop.parked == 1)
        one.effects.then = defective
        await ask(log, "replay", STUCK)
        stop = asyncio.Event()
        running = asyncio.create_task(one.loop.run(stop))

        async def told() -> bool:
            return one.health.readiness().dependencies.get(GROUP) == "stands still: ValueError"

        await until(told)
        for text in ("1", "2", "3", "4"):
            await send(log, FREE, text)
            await until(partial(applied, one, text))
            assert await told()
        one.effects.then = None
        await until(partial(sound, one), within_s=20)
        assert one.loop.parked == 0
        stop.set()
        await running


async def applied(one: Member, text: str) -> bool:
    return text in one.effects.applied


async def sound(one: Member) -> bool:
    return one.health.readiness().status == "ok"


async def test_a_dependency_that_is_down_is_asked_once_for_all(log: EventLog) -> None:
    """Of many replays one finds out, after each pause; drops go on, and all is done when it is back."""
    keys = [f"key {number}" for number in range(8)]
    async with member(log) as one:
        one.effects.refuse(*keys)
        for key in (*keys, STUCK):
            await send(log, key, *([key] if key != STUCK else ["!bad"]))
        await one.until(lambda: one.loop.parked == 9)
        one.effects.fail(Unavailable("search", "down"))
        asked = [await ask(log, "replay", key) for key in keys]
        with pytest.raises(Unavailable):
            await one.step_for_ever()
        dropping = await ask(log, "drop", STUCK)
        one.effects.batches.clear()
        while await outcome(log, dropping) is None:
            tried = len(one.effects.batches)
            await one.step()
            assert len(one.effects.batches) <= tried + 1
        assert one.loop.parked == 8
        one.effects.then = None
        assert [each["replayed"] for each in await done(one, log, *asked)] == [1] * 8
        assert sorted(one.effects.applied) == keys


async def test_letters_alone_do_not_wait_for_one_another(log: EventLog) -> None:
    """One that cannot be read and one that is refused stay; what stands beside them is applied."""
    effects = Effects()
    texts = ["a", "!b", "c", "d"]
    effects.refuse(*texts)
    # In a partition where their key does not belong.
    await append(log, [NewRecord(MESSAGES_CREATED.name, STUCK, FREE, text.encode()) for text in texts])
    async with member(log, effects) as one:
        await one.until(lambda: one.loop.parked == 4)
        effects.refuse("c")
        effects.applied.clear()
        (told,) = await done(one, log, await ask(log, "replay", STUCK, *await sources(log)))
        assert effects.applied == ["a", "d"]
        assert (told["replayed"], told["left"]) == (2, 2)
        assert "cannot be read: !b (and 1 more)" in str(told["error"])
        assert [each["value"] for each in await letters(log)] == ["!b", "c"]


async def test_a_replay_that_takes_too_long_is_done_in_smaller_bits(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as many letters are tried after each time-out, and twice as many after each bit that was quick."""
    monkeypatch.setattr(applying_module, "APPLIED_WITHIN_S", 0.2)
    texts = [str(number) for number in range(100)]

    async with member(log) as one:
        await stopped(one, log, *texts)
        bits = one.effects.batches

        async def slow(_batch: Texts) -> Sequence[Refusal]:
            if len(bits) <= 3:
                await asyncio.Event().wait()
            return []

        one.effects.then = slow
        bits.clear()
        (told,) = await done(one, log, await ask(log, "replay", STUCK))
        assert told["replayed"] == 101
        assert one.effects.applied == ["no", *texts]
        assert [len(each) for each in bits] == [101, 50, 25, 12, 24, 48, 17]
