"""Notifications rebuilt: right ones untouched, lost ones back with their numbers, wrong ones put right."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from sqlalchemy import Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.database.engine import Database
from backbone.database.tables import (
    announcements,
    inbox,
    inbox_counters,
    notified_messages,
    outbox,
)
from backbone.eventlog import NewRecord, Record
from rebuilder.notifications import rebuild as module
from rebuilder.notifications.mending import notifiers_held
from rebuilder.notifications.rebuild import Ways
from rebuilder.notifications.rehearsal import Rehearsal
from schemas.events import encode
from tests.contract.rebuilding_notifications.conftest import (
    EVERYTHING,
    MEMORY,
    Office,
    lose,
    rebuild,
    rows_of,
)
from tests.support.backend import user
from tests.support.eventlog import append
from tests.support.messaging import Talk


async def notifications(database: Database) -> set[tuple[str, str, str, bool]]:
    """Return the set of (user, message, reason, retracted)."""
    columns = inbox.c
    query = select(columns.user_id, columns.message_id, columns.reason, columns.retracted)
    async with database.looking() as connection:
        rows = await connection.execute(query.where(columns.kind == "notification"))
        return {(row.user_id, row.message_id, row.reason, row.retracted) for row in rows}


async def epochs(database: Database) -> dict[str, int]:
    """Return the epoch of each inbox; each is numbered without a gap."""
    async with database.looking() as connection:
        counters = (await connection.execute(select(inbox_counters))).all()
        for counter in counters:
            query = select(inbox.c.seq).where(inbox.c.user_id == counter.user_id).order_by(inbox.c.seq)
            assert list(await connection.scalars(query)) == list(range(1, counter.last_seq + 1))
            assert counter.read_up_to <= counter.last_seq
        return {counter.user_id: counter.epoch for counter in counters}


async def test_what_is_right_is_not_touched(office: Office) -> None:
    """Given inboxes as they became, nothing changes, nobody is told, and both digests are the same."""
    database = office.backend.ports.database
    before = await rows_of(database)
    report = await rebuild(office)
    assert (report.outcome, report.reason, report.behind) == ("put right", None, 0)
    assert (report.counts.restored, report.counts.renumbered, report.counts.taken_back) == (0, 0, 0)
    assert report.counts.notifications > 50
    assert report.counts.retracted > 5
    assert report.digests["log"] == report.digests["inboxes"]
    assert await rows_of(database) == before
    assert (await rows_of(database, [outbox]))["outbox"] == []


async def test_all_is_lost_and_comes_back_with_its_numbers(office: Office) -> None:
    """Given every table of the notifier empty, all rows are as they were, from what was sent."""
    database = office.backend.ports.database
    before = await rows_of(database)
    await lose(database, *EVERYTHING, announcements)
    report = await rebuild(office)
    assert (report.outcome, report.counts.renumbered) == ("put right", 0)
    assert await rows_of(database) == before
    await office.act(30)
    await office.notify()
    assert (await rebuild(office)).counts.restored == 0


async def test_what_was_never_sent_raises_the_epoch(office: Office) -> None:
    """Given rows lost that the log was never told of, inboxes are numbered anew, and sockets hear of it."""
    database = office.backend.ports.database
    await office.act(40)
    await office.notify(relayed=False)
    before, standing = await notifications(database), await epochs(database)
    await lose(database, outbox, inbox)
    report = await rebuild(office)
    assert report.outcome == "put right"
    assert report.counts.renumbered > 0
    assert {each[:3] for each in await notifications(database)} == {each[:3] for each in before}
    assert report.digests["log"] == report.digests["inboxes"]
    now = await epochs(database)
    assert 1 in {now[each] - standing[each] for each in now} <= {0, 1}
    await office.tell()
    await lose(database, *EVERYTHING)
    again = await rebuild(office)
    assert {each[:3] for each in await notifications(database)} == {each[:3] for each in before}
    assert again.outcome == "put right"
    assert all(epoch >= now[each] for each, epoch in (await epochs(database)).items())


async def test_forged_rows_are_put_right(office: Office) -> None:
    """Given a notification that nobody caused, and one taken back for nothing, both are put right."""
    database = office.backend.ports.database
    posted = await office.backend.post("일반", "지훈", "안녕", mentions=["guest0"])
    await office.notify()
    before = await notifications(database)
    async with database.writing() as connection:
        row = (await connection.execute(select(inbox).limit(1))).mappings().one()
        forged = {**row, "message_id": "msg_forged", "seq": 10_000}
        await connection.execute(insert(inbox), [forged])
        untrue = update(inbox).where(inbox.c.message_id == posted["message_id"])
        await connection.execute(untrue.values(retracted=True, body=None))
    assert (await rebuild(office, Ways(compare=True))).exit_code == 1
    assert await notifications(database) != before
    report = await rebuild(office)
    assert report.outcome == "put right"
    assert await notifications(database) == before
    await epochs(database)


async def test_a_lost_retraction_is_made_up_for(office: Office) -> None:
    """Given a deletion that the notifier takes for applied, what it told is taken back, and that is told."""
    database = office.backend.ports.database
    posted = await office.backend.post("일반", "지훈", "안녕", mentions=["guest0"])
    await office.notify()
    message_id = posted["message_id"]
    await office.backend.client.delete(f"/messages/{message_id}", headers=user("지훈"))
    deletion = posted["version"] + 1
    known = {
        "version": deletion,
        "mentions": json.dumps([[["guest0"], [posted["version"]]], [[], [deletion]]]),
        "deleted": True,
    }
    this = update(notified_messages).where(notified_messages.c.message_id == message_id)
    async with database.writing() as connection:
        await connection.execute(this.values(**known))
    await office.notify()
    assert ("guest0", message_id, "mention", False) in await notifications(database)
    report = await rebuild(office)
    assert (report.outcome, report.counts.taken_back, report.counts.renumbered) == ("put right", 1, 0)
    assert ("guest0", message_id, "mention", True) in await notifications(database)
    async with database.looking() as connection:
        told = list(await connection.scalars(select(outbox.c.event_type)))
    assert told == ["notification.retracted"]
    await epochs(database)


async def test_a_garbage_record_is_named_and_can_be_left_out(office: Office) -> None:
    """Given a record that is no event: refused, and said where; without it all is proven."""
    await append(office.backend.ports.eventlog, [NewRecord("messages.created", "ops", "ops", b"{}")])
    report = await rebuild(office)
    assert (report.outcome, report.exit_code, report.counts.problems) == ("refused", 1, 1)
    assert report.problems[0].topic == "messages.created"
    report = await rebuild(office, Ways(resume=True, skip_poison=True))
    assert (report.outcome, report.resumed, report.exit_code) == ("put right", True, 0)


async def test_it_goes_on_while_people_write(office: Office) -> None:
    """Given people who write, and a notifier that tells them, all is whole at the end, no number twice."""
    database = office.backend.ports.database
    await lose(database, inbox, notified_messages)

    async def live() -> None:
        for _ in range(6):
            await office.act(8)
            await office.notify()
            await office.read()

    report, _ = await asyncio.gather(rebuild(office), live())
    assert report.outcome in ("put right", "refused")
    await office.notify()
    report = await rebuild(office)
    assert (report.outcome, report.behind) == ("put right", 0)
    assert report.digests["log"] == report.digests["inboxes"]
    await epochs(database)


async def test_what_the_notifier_has_yet_to_apply_is_left_to_it(office: Office) -> None:
    """Given events that are told and not applied, the report says how many; the notifier tells them after."""
    database = office.backend.ports.database
    before = await notifications(database)
    posted = await office.backend.post("일반", "지훈", "안녕", mentions=["guest0"])
    await office.backend.relay()
    report = await rebuild(office)
    assert report.outcome == "put right"
    assert report.behind > 0
    assert await notifications(database) == before
    await office.notify()
    assert await notifications(database) == {*before, ("guest0", posted["message_id"], "mention", False)}


@pytest.mark.parametrize("lost", [(inbox,), (inbox_counters,), MEMORY, (notified_messages,)])
async def test_any_table_may_be_lost(office: Office, lost: Collection[Table]) -> None:
    """Given one of the tables empty, all are as they were."""
    database = office.backend.ports.database
    before = await rows_of(database)
    await lose(database, *lost)
    report = await rebuild(office)
    assert (report.outcome, report.counts.renumbered) == ("put right", 0)
    assert await rows_of(database) == before


async def tell_of_late_post(office: Office) -> None:
    """Tell the log of a post that the notifier has yet to apply."""
    post = Talk("일반", author_id="지훈").post("late", ["guest0"], "msg_late")
    payload = msgspec.structs.replace(post.payload, sequence=10_000, version=10_000)
    body = encode(msgspec.structs.replace(post, sequence=10_000, payload=payload))
    await append(office.backend.ports.eventlog, [NewRecord("messages.created", "일반", "일반", body)])


async def test_what_takes_too_long_is_tried_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a rehearsal that is interrupted while notifiers are held, nothing of it is lost."""
    database = office.backend.ports.database
    before = await rows_of(database, [inbox, inbox_counters])
    await lose(database, inbox)
    apply = Rehearsal.apply
    told: list[bool] = []
    applied: list[int] = []

    @asynccontextmanager
    async def held(live: Database) -> AsyncIterator[AsyncConnection]:
        async with notifiers_held(live) as connection:
            if not told:
                told.append(True)
                await tell_of_late_post(office)
            yield connection

    async def slowly(self: Rehearsal, records: Sequence[Record], *place: Any) -> None:
        if any(b"msg_late" in (each.value or b"") for each in records):
            applied.append(len(records))
            await asyncio.sleep(2.0 if len(applied) == 1 else 0.0)
        await apply(self, records, *place)

    monkeypatch.setattr(module, "HELD_MAX_S", 1.0)
    monkeypatch.setattr(module, "notifiers_held", held)
    monkeypatch.setattr(Rehearsal, "apply", slowly)
    report = await rebuild(office)
    assert len(applied) >= 2
    assert (report.outcome, report.counts.renumbered) == ("put right", 0)
    assert report.behind > 0
    assert await rows_of(database, [inbox, inbox_counters]) == before
