"""What a rebuild of the database refuses, and says: nothing live changes then."""

import msgspec
import pytest
from sqlalchemy import insert, text

from backbone.database.tables import messages
from backbone.eventlog import NewRecord
from indexer.projection import document_of_state
from rebuilder.database.ways import Ways
from rebuilder.digest import Digests, message_hash
from schemas.events import MessageCreated, decode_stream_event, encode
from schemas.states import decode_state
from schemas.topics import CHANNELS_CHANGED, MESSAGES_CREATED, MESSAGES_STATE
from tests.contract.rebuilding_database.conftest import rebuild
from tests.support.backend import Backend
from tests.support.eventlog import append
from tests.support.write_side import Users, lose, tables_of


async def test_a_garbage_record_is_named_and_can_be_left_out(backend: Backend, users: Users) -> None:
    """Given a record that is no event: refused, with its place; resumed without it, all is as it was."""
    await append(backend.ports.eventlog, [NewRecord("messages.created", "ops", "ops", b"{}")])
    before = await tables_of(backend.ports.database)
    report = await rebuild(backend)
    assert (report.outcome, report.exit_code, report.counts.problems) == ("refused", 1, 1)
    assert report.problems[0].topic == "messages.created"
    assert "records that cannot be read: 1" in str(report.reason)
    assert await tables_of(backend.ports.database) == before
    report = await rebuild(backend, Ways(resume=True, skip_poison=True))
    assert (report.outcome, report.resumed) == ("swapped", True)
    assert await tables_of(backend.ports.database) == before


async def test_a_gap_is_refused_and_named(backend: Backend, users: Users) -> None:
    """Given events of which the log lacks three, their channel and numbers are said."""
    body = (await backend.told(MESSAGES_CREATED))[0].value or b""
    event = decode_stream_event(body)
    assert isinstance(event, MessageCreated)
    async with backend.ports.database.looking() as connection:
        last = int(
            await connection.scalar(
                text("SELECT last_sequence FROM channels WHERE channel_id = :id"),
                {"id": event.payload.channel_id},
            )
        )
    far = msgspec.structs.replace(
        event,
        event_id="evt_far",
        idempotency_key_hash=msgspec.UNSET,
        sequence=last + 4,
        payload=msgspec.structs.replace(
            event.payload, message_id="msg_far", sequence=last + 4, version=last + 4
        ),
    )
    key = event.payload.channel_id
    await append(backend.ports.eventlog, [NewRecord("messages.created", key, key, encode(far))])
    before = await tables_of(backend.ports.database)
    report = await rebuild(backend)
    assert report.outcome == "refused"
    assert report.gaps == (f"channel {key!r}: events {last + 1:,} to {last + 3:,} are missing",)
    assert await tables_of(backend.ports.database) == before


async def test_records_that_came_twice_change_nothing(backend: Backend, users: Users) -> None:
    """Given every record of the log once more, as a relay may tell it again."""
    records = await backend.told(CHANNELS_CHANGED, MESSAGES_CREATED)
    before = await tables_of(backend.ports.database)
    again = [
        NewRecord(each.topic, str(each.key), str(each.key), each.value, each.headers) for each in records
    ]
    await append(backend.ports.eventlog, again)
    await lose(backend.ports.database)
    report = await rebuild(backend)
    assert (report.outcome, report.reason) == ("swapped", None)
    assert await tables_of(backend.ports.database) == before


async def test_two_events_under_one_number_are_refused(backend: Backend, users: Users) -> None:
    record = (await backend.told(MESSAGES_CREATED))[-1]
    event = decode_stream_event(record.value or b"")
    assert isinstance(event, MessageCreated)
    other = msgspec.structs.replace(
        event, payload=msgspec.structs.replace(event.payload, content="다른 말"), event_id="evt_other"
    )
    key = event.payload.channel_id
    await append(backend.ports.eventlog, [NewRecord("messages.created", key, key, encode(other))])
    report = await rebuild(backend)
    assert report.outcome == "refused"
    assert f"channel {key!r}" in str(report.reason)
    assert "two different events" in str(report.reason)


async def test_what_differs_is_named_and_not_swapped_in(backend: Backend, users: Users) -> None:
    """Given a live row that no event made: its key is named; told to, it swaps, and the row is mended."""
    database = backend.ports.database
    before = await tables_of(database)
    victim = next(row[0] for row in before["messages"])
    async with database.writing() as connection:
        await connection.execute(
            text("UPDATE messages SET content = 'forged' WHERE message_id = :id"), {"id": victim}
        )
    report = await rebuild(backend)
    assert (report.outcome, report.counts.differing_rows) == ("refused", 1)
    assert [(each.table, each.key) for each in report.differences] == [("messages", (victim,))]
    compared = await rebuild(backend, Ways(compare=True))
    assert (compared.outcome, compared.exit_code) == ("compared", 1)
    assert (await tables_of(database)) != before
    accepted = await rebuild(backend, Ways(accept_differences=True))
    assert (accepted.outcome, accepted.counts.differing_rows, accepted.exit_code) == ("swapped", 1, 0)
    assert await tables_of(database) == before


async def test_what_the_log_lacks_differs(backend: Backend, users: Users) -> None:
    """Given live events that neither the log nor the outbox has, they are named, also without a swap."""
    await backend.post("ops", "bora", "lost on the way")
    async with backend.ports.database.writing() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    report = await rebuild(backend, Ways(compare=True))
    assert [(each.table, each.key) for each in report.differences] == [("channels", ("ops",))]
    assert (await rebuild(backend)).outcome == "refused"


async def test_its_digests_are_those_of_the_states(backend: Backend, users: Users) -> None:
    """A digest out of the tables is that of the index's documents, deleted messages included."""
    newest = {}
    for record in await backend.told(MESSAGES_STATE):
        message_id, document = document_of_state(decode_state(record.value or b""))
        newest[message_id] = document
    digests = Digests()
    for message_id, document in newest.items():
        digests.add(document.channel, message_hash(message_id, document), document.deleted)
    assert (await rebuild(backend, Ways(compare=True))).digests == digests.as_text()


async def test_many_that_differ_are_counted_and_not_swapped_in(backend: Backend, users: Users) -> None:
    """Given more forged rows than are looked at one by one, their number is right, and nothing is swapped."""
    forged = {
        "channel_id": "ops", "author_id": "evil", "content": "x", "mentions": "[]", "attachments": "[]",
        "sequence": 1, "version": 1, "created_at": 1, "updated_at": 1,
    }  # fmt: skip
    rows = [
        {**forged, "message_id": f"msg_forged_{number}", "sequence": -number} for number in range(1, 2501)
    ]
    async with backend.ports.database.writing() as connection:
        await connection.execute(insert(messages), rows)
    report = await rebuild(backend)
    assert (report.outcome, report.counts.differing_rows) == ("refused", 2500)
    assert len(report.differences) == 20
    assert (await rebuild(backend, Ways(compare=True))).counts.differing_rows == 2500


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE channels SET last_sequence = last_sequence - 1 WHERE channel_id = 'ops'", "channels"),
        ("UPDATE channels SET last_sequence = last_sequence + 9 WHERE channel_id = 'ops'", "channels"),
        ("UPDATE channels SET last_event_at = last_event_at + 9 WHERE channel_id = 'ops'", "channels"),
        ("INSERT INTO quiet_hours VALUES ('u1', '00:00', '23:59', 'Asia/Seoul')", "quiet_hours"),
        ("UPDATE messages SET version = version + 1000 WHERE channel_id = 'ops'", "messages"),
        ("UPDATE message_events SET sequence = sequence + 1000 WHERE channel_id = 'ops'", "message_events"),
    ],
)
async def test_what_no_event_can_have_made_is_not_taken_for_later(
    backend: Backend, users: Users, statement: str, table: str
) -> None:
    """Given a forged counter, number or preference and nobody who writes, a comparison names it."""
    async with backend.ports.database.writing() as connection:
        await connection.execute(text(statement))
    report = await rebuild(backend, Ways(compare=True))
    assert report.exit_code == 1
    assert table in {each.table for each in report.differences}
