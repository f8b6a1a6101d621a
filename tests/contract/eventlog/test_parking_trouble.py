"""What is parked stays known, on the file and on Kafka, whatever reading the dead letters meets."""

import pytest

from backbone.eventlog import EventLog, NewRecord, Record
from backbone.eventlog.parking.ledger import Ledger
from maeari.parked import ParkedCounts
from schemas.topics import DEAD_LETTERS
from tests.contract.eventlog.test_parking import STUCK, send
from tests.support.eventlog import append
from tests.support.parking import GROUP, TOPICS, member, parked

DEEP = b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@pytest.fixture
async def log(log: EventLog) -> EventLog:
    await log.apply_topics((*TOPICS, DEAD_LETTERS), 3)
    return log


async def test_a_strange_record_among_the_dead_letters_hides_no_letter(log: EventLog) -> None:
    """Given one that is nested deeper than any decoder goes, what lies behind it is known all the same."""
    await append(log, [NewRecord(DEAD_LETTERS.name, f"{GROUP}/strange/0/0", STUCK, DEEP)])
    await append(log, [NewRecord(DEAD_LETTERS.name, f"{GROUP}/request/strange", STUCK, DEEP)])
    await send(log, STUCK, "!bad")
    async with member(log) as one:
        await one.until(lambda: one.loop.parked == 1)
    await send(log, STUCK, "after")
    async with member(log) as two:
        await two.until(lambda: two.loop.parked == 2)
        assert two.effects.applied == []


async def test_what_was_read_and_not_taken_in_is_read_again(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a defect that reading the dead letters meets once, a stopped key stays stopped."""
    await send(log, STUCK, "!bad")
    async with member(log) as one:
        await one.until(lambda: one.loop.parked == 1)
    await send(log, STUCK, "after")
    fails_once(monkeypatch)
    counts = ParkedCounts(log, [GROUP])
    with pytest.raises(KeyError):
        await counts.look()
    assert (await counts.look())[GROUP].records == 1
    await counts.close()
    fails_once(monkeypatch)
    async with member(log) as two:
        with pytest.raises(KeyError):
            await two.until(lambda: two.loop.parked == 2)
        await two.until(lambda: two.loop.parked == 2)
        assert two.effects.applied == []
    assert await parked(log) == ["!bad", "after"]


def fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next record that is taken in meet a defect."""
    take = Ledger.take

    def failing(_ledger: Ledger, _record: Record) -> None:
        monkeypatch.setattr(Ledger, "take", take)
        raise KeyError("a defect")

    monkeypatch.setattr(Ledger, "take", failing)
