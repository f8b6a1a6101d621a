"""What people ask of parked records, on the file and on Kafka: replay in order, or drop."""

import pytest

from backbone.eventlog import MAX_RECORD_BYTES, EventLog, NewRecord, Record
from backbone.eventlog.parking.letters import Parked, letter_of
from schemas.topics import DEAD_LETTERS, MESSAGES_CREATED
from tests.contract.eventlog.test_parking import BESIDE, FREE, STUCK, send
from tests.support.consuming import Effects
from tests.support.eventlog import LogSite, append
from tests.support.parking import GROUP, TOPICS, Member, ask, letters, member, outcome, parked


@pytest.fixture
async def log(site: LogSite) -> EventLog:
    opened = site.open()
    await opened.apply_topics((*TOPICS, DEAD_LETTERS), 3)
    return opened


async def stopped(one: Member, log: EventLog, *texts: str) -> None:
    """Have the key stopped by what the handler refuses: `no`, and park these behind."""
    one.effects.refuse("no")
    await send(log, STUCK, "no", *texts)
    await one.until(lambda: one.loop.parked == 1 + len(texts))
    one.effects.applied.clear()


async def test_replay_applies_in_order_and_frees_the_key(log: EventLog) -> None:
    """Letters are applied oldest first, then the key goes on; the dead letters are empty."""
    async with member(log) as one:
        await stopped(one, log, "2", "3")
        one.effects.then = None
        asked = await ask(log, "replay", STUCK)
        await one.until_applied("no", "2", "3")
        assert await outcome(log, asked) == {"replayed": 3, "dropped": 0, "left": 0, "error": None}
        assert await letters(log) == []
        assert one.health.readiness().status == "ok"
        await send(log, STUCK, "4")
        await one.until_applied("no", "2", "3", "4")


async def test_what_comes_during_a_replay_queues_behind(log: EventLog) -> None:
    """Given an effect that is not available, later events wait behind the letters, and others go on."""
    async with member(log) as one:
        await stopped(one, log, "2")
        one.effects.fail_with("no")
        await ask(log, "replay", STUCK)
        await send(log, STUCK, "3")
        await send(log, BESIDE, "beside")
        await one.until(lambda: one.loop.parked == 3 and "beside" in one.effects.applied)
        assert one.effects.applied == ["beside"]
        one.effects.then = None
        await one.until_applied("beside", "no", "2", "3")
        assert one.loop.parked == 0


async def test_a_replay_that_is_refused_again_keeps_the_order(log: EventLog) -> None:
    """What comes before is applied; the refused one stays first, and the outcome says why."""
    async with member(log) as one:
        await stopped(one, log, "2", "3")
        one.effects.refuse("2")
        asked = await ask(log, "replay", STUCK)
        await one.until(lambda: one.loop.parked == 2)
        told = await outcome(log, asked)
        assert told is not None
        assert (told["replayed"], told["left"]) == (1, 2)
        assert "because" in told["error"]
        assert await parked(log) == ["2", "3"]
        await send(log, STUCK, "4")
        await one.until(lambda: one.loop.parked == 3)
        assert await parked(log) == ["2", "3", "4"]


async def test_one_letter_can_be_dropped(log: EventLog) -> None:
    """The key stays stopped until the letters behind it are replayed."""
    async with member(log) as one:
        await stopped(one, log, "2")
        first = (await letters(log))[0]["place"].partition("/")[2]
        asked = await ask(log, "drop", STUCK, first)
        await one.until(lambda: one.loop.parked == 1)
        assert await outcome(log, asked) == {"replayed": 0, "dropped": 1, "left": 1, "error": None}
        assert await parked(log) == ["2"]
        await ask(log, "replay", STUCK)
        await one.until_applied("2")


async def test_no_record_is_replayed_before_an_older_one(log: EventLog) -> None:
    """Of a key's queue only the first ones can be named; the outcome says which comes before."""
    async with member(log) as one:
        await stopped(one, log, "2", "3")
        one.effects.then = None
        first, second, third = [each["place"].partition("/")[2] for each in await letters(log)]
        refused = await ask(log, "replay", STUCK, second)
        while (told := await outcome(log, refused)) is None:
            await one.step()
        assert first in told["error"]
        granted = await ask(log, "replay", STUCK, first, second)
        await one.until_applied("no", "2")
        assert await outcome(log, granted) == {"replayed": 2, "dropped": 0, "left": 1, "error": None}
        assert [each["place"] for each in await letters(log)] == [f"{GROUP}/{third}"]


async def test_what_comes_after_a_drop_was_asked_for_is_not_lost(log: EventLog) -> None:
    """It was not there to be dropped: it is applied."""
    async with member(log) as one:
        await stopped(one, log)
        asked = await ask(log, "drop", STUCK)
        await append(log, [letter_of_nothing(log, "later")])
        one.effects.then = None
        await one.until_applied("later")
        assert await outcome(log, asked) == {"replayed": 1, "dropped": 1, "left": 0, "error": None}


def letter_of_nothing(log: EventLog, text: str) -> NewRecord:
    """Return a letter as the owner writes it, of a record that lies nowhere."""
    record = Record(MESSAGES_CREATED.name, 0, 1_000, STUCK, text.encode(), (), 0)
    return letter_of(
        GROUP, log.full_name(MESSAGES_CREATED.name), Parked(record, STUCK, alone=False, reason="because")
    )


async def test_a_key_can_be_dropped_whole(log: EventLog) -> None:
    """All that was parked is gone for the group, and later events are applied."""
    async with member(log) as one:
        await stopped(one, log, "2", "3")
        asked = await ask(log, "drop", STUCK)
        await one.until(lambda: one.loop.parked == 0)
        assert await outcome(log, asked) == {"replayed": 0, "dropped": 3, "left": 0, "error": None}
        await send(log, STUCK, "4")
        await one.until_applied("4")


async def test_a_request_waits_for_a_member(log: EventLog) -> None:
    """It lies in the log: whoever owns the partition next carries it out."""
    async with member(log) as one:
        await stopped(one, log, "2")
    await ask(log, "replay", STUCK)
    async with member(log) as two:
        await two.until_applied("no", "2")
        assert await letters(log) == []


async def test_more_letters_than_are_dealt_with_at_once(log: EventLog) -> None:
    """A long queue is applied in order, bit by bit."""
    texts = [str(number) for number in range(2_500)]
    async with member(log) as one:
        await stopped(one, log, *texts)
        one.effects.then = None
        asked = await ask(log, "replay", STUCK)
        await one.until_applied("no", *texts)
        assert await outcome(log, asked) == {"replayed": 2_501, "dropped": 0, "left": 0, "error": None}


async def test_more_letters_than_are_held_at_once(log: EventLog) -> None:
    """Large records are applied a few at a time, all of them and in order."""
    texts = [f"{number} " + '"' * 100_000 for number in range(60)]
    async with member(log) as one:
        await stopped(one, log, *texts)
        one.effects.then = None
        asked = await ask(log, "replay", STUCK)
        await one.until_applied("no", *texts)
        assert await outcome(log, asked) == {"replayed": 61, "dropped": 0, "left": 0, "error": None}


async def test_letters_alone_are_named_one_by_one(log: EventLog) -> None:
    """A record whose key is not known can be replayed and dropped by its source."""
    effects = Effects()
    effects.refuse("a", "b")
    values = [NewRecord(MESSAGES_CREATED.name, "", FREE, text) for text in (b"a", b"b")]
    await append(log, values)
    async with member(log, effects) as one:
        await one.until(lambda: one.loop.parked == 2)
        effects.then = None
        first, second = await letters(log)
        await ask(log, "replay", first["ordering_key"], first["place"].partition("/")[2])
        await ask(log, "drop", second["ordering_key"], second["place"].partition("/")[2])
        await one.until(lambda: one.loop.parked == 0)
        assert len(effects.applied) == 1


async def test_a_large_record_is_replayed_from_its_topic(log: EventLog) -> None:
    """Its letter has no value; the record itself is read where it lies."""
    text = "\x01" * (MAX_RECORD_BYTES - 1_000)
    effects = Effects()
    effects.refuse(text)
    await append(log, [NewRecord(MESSAGES_CREATED.name, STUCK, STUCK, text.encode())])
    async with member(log, effects) as one:
        await one.until(lambda: one.loop.parked == 1)
        assert (await letters(log))[0]["encoding"] == "omitted"
        effects.then = None
        await ask(log, "replay", STUCK)
        await one.until_applied(text)


async def test_a_request_about_nothing_ends(log: EventLog) -> None:
    """A key without letters: the outcome says that nothing was dealt with."""
    async with member(log) as one:
        asked = await ask(log, "replay", STUCK)

        async def answered() -> None:
            while await outcome(log, asked) is None:
                await one.step()

        await answered()
        assert await outcome(log, asked) == {"replayed": 0, "dropped": 0, "left": 0, "error": None}


async def test_a_failing_replay_stops_no_others(log: EventLog) -> None:
    """Given a defect that a letter meets, the request waits, and everything else goes on."""
    async with member(log) as one:
        await stopped(one, log)
        await send(log, BESIDE, "!bad")
        await one.until(lambda: one.loop.parked == 2)
        one.effects.fail(ValueError("a defect"))
        asked = await ask(log, "replay", STUCK)
        await ask(log, "drop", BESIDE)
        with pytest.raises(ValueError, match="a defect"):
            await one.step_for_ever()
        assert one.loop.parked == 1
        one.effects.then = None
        await send(log, FREE, "free")
        await one.until(lambda: one.loop.parked == 0 and "free" in one.effects.applied)
        assert (await outcome(log, asked) or {})["replayed"] == 1
